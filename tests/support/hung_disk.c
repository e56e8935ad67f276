/* A disk that does not answer while the file $HUNG_DISK is there, as one of a network whose server has
 * gone: what is to be synced waits. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_disk(void) {
    const char *path = getenv("LD_HUNG_DISK");
    while (path && access(path, F_OK) == 0)
        usleep(10000);
}

int fsync(int fd) {
    wait_for_disk();
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    wait_for_disk();
    return syscall(SYS_fdatasync, fd);
}
