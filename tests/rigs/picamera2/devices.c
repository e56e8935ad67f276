/* The memory devices that a kernel without them lacks: /dev/dma_heap and /dev/udmabuf.
 *
 * To be preloaded. Opening one gives a handle to nothing, and what is asked of it, memory by
 * descriptor, is given as a memfd. Every other call goes its way.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* From <linux/dma-heap.h>, <linux/dma-buf.h> and <linux/udmabuf.h>. */
struct heap_allocation {
	uint64_t len;
	uint32_t fd, fd_flags;
	uint64_t heap_flags;
};
struct udmabuf_create {
	uint32_t memfd, flags;
	uint64_t offset, size;
};
#define HEAP_ALLOC _IOWR('H', 0, struct heap_allocation)
#define BUF_SYNC _IOW('b', 0, uint64_t)
#define BUF_SET_NAME _IOW('b', 1, const char *)
#define UDMABUF_CREATE _IOW('u', 0x42, struct udmabuf_create)

static int is_memory_device(const char *path)
{
	return !strncmp(path, "/dev/dma_heap/", 14) || !strcmp(path, "/dev/udmabuf");
}

#define OPEN(name)                                                             \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		static int (*real)(const char *, int, ...);                    \
		va_list rest;                                                  \
		va_start(rest, flags);                                         \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
		va_end(rest);                                                  \
		if (!real)                                                     \
			*(void **)&real = dlsym(RTLD_NEXT, #name);             \
		return real(is_memory_device(path) ? "/dev/null" : path, flags, mode); \
	}

OPEN(open)
OPEN(open64)

static int allocate(struct heap_allocation *wanted)
{
	int fd = memfd_create("rig-buffer", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, wanted->len))
		return -1;
	wanted->fd = fd;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, ...);
	va_list rest;
	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	switch (request & 0xffffffff) {
	case HEAP_ALLOC:
		return allocate(argument);
	case BUF_SYNC:
	case BUF_SET_NAME:
		return 0;
	case UDMABUF_CREATE:
		return dup(((struct udmabuf_create *)argument)->memfd);
	}
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, argument);
}
