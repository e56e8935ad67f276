/* A libgphoto2 port library: the virtual PTP camera that comes with python-gphoto2, made to fail.
 *
 * It loads libgphoto2's own vusb.so and stands between that and the PTP driver. What the virtual
 * camera lacks is answered in operations.c and objects.c. Faults are asked for, and what happened is
 * counted, in a file of int32 that both sides map; its fields are those of control.py, in order.
 *
 * Environment: RIG_VUSB, the path of vusb.so; RIG_CONTROL, the file; RIG_PREVIEW, a JPEG;
 * RIG_EXCLUSIVE, set where a camera is to be open once at a time, as on a USB.
 */
#define _GNU_SOURCE
#include "rig.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define THEIRS(name, type) ((type)dlsym(vusb, name))
#define MOST_CAMERAS 8
/* Before each picture, libgphoto2 waits for events four times; not where a camera has Nikon's own
 * operation for them, as a real one of this model has. */
#define MOST_WAITED_MS 5

Operations theirs;
Control *control;
static void *vusb;
static Camera cameras[MOST_CAMERAS];

static const char *path_of(Port *port)
{
	static char *path;
	Info info;
	THEIRS("gp_port_get_info", int (*)(Port *, Info *))(port, &info);
	THEIRS("gp_port_info_get_path", int (*)(Info, char **))(info, &path);
	return path;
}

static Camera *camera_of(Port *port)
{
	for (int i = 0; i < MOST_CAMERAS; i++)
		if (cameras[i].port == port)
			return &cameras[i];
	for (int i = 0; i < MOST_CAMERAS; i++)
		if (!cameras[i].port) {
			cameras[i].port = port;
			return &cameras[i];
		}
	abort();
}

void begin_strike(void)
{
	control->fault = control->strike;
	control->strike = NONE;
	control->struck_until = now() * 1e2 + control->strike_ms / 10;
}

/* Begin and end the fault that strikes when so many bytes of objects have been read. */
static void strike(int bytes)
{
	static int64_t read;
	if (control->struck_until && now() * 1e2 >= control->struck_until) {
		control->fault = NONE;
		control->struck_until = 0;
	}
	read = control->strike && control->strike_after_kb >= 0 ? read + bytes : 0;
	if (read && read >= (int64_t)control->strike_after_kb << 10) {
		begin_strike();
		read = 0;
	}
}

static int failing(Camera *camera)
{
	strike(0);
	while (control->fault == HANG) {
		usleep(1000);
		strike(0);
	}
	if (control->fault == UNPLUGGED)
		camera->dead = 1;
	if (camera->dead)
		return ERROR_GONE;
	return control->fault == IO_ERROR || control->fault == WEDGED ? ERROR_IO : OK;
}

/* The port's operations. */

static int port_init(Port *port)
{
	Camera *camera = camera_of(port);
	int result = theirs.init(port);
	snprintf(camera->path, sizeof camera->path, "%s", path_of(port));
	return result;
}

/* Have the camera for this opening alone, as a USB interface is claimed. */
static int claim(Camera *camera)
{
	int number = atoi(camera->path + strlen(camera->path) - 3);
	struct flock byte = {.l_type = F_WRLCK, .l_start = number, .l_len = 1};
	camera->claim = open(getenv("RIG_CONTROL"), O_RDWR | O_CLOEXEC);
	return fcntl(camera->claim, F_OFD_SETLK, &byte) ? ERROR_CLAIMED : OK;
}

static void release(Camera *camera)
{
	if (camera->claim)
		close(camera->claim);
	camera->claim = 0;
}

static int port_close(Port *port)
{
	release(camera_of(port));
	return theirs.close(port);
}

static int port_exit(Port *port)
{
	Camera *camera = camera_of(port);
	release(camera);
	free(camera->queue);
	memset(camera, 0, sizeof *camera);
	return theirs.exit(port);
}

static int port_open(Port *port)
{
	Camera *camera = camera_of(port);
	strike(0);
	if (control->fault == CLAIMED)
		return ERROR_CLAIMED;
	if (control->fault == UNPLUGGED)
		return ERROR_GONE;
	if (getenv("RIG_EXCLUSIVE") && claim(camera)) {
		release(camera);
		return ERROR_CLAIMED;
	}
	camera->dead = 0;
	control->opens++;
	control->live = 0;
	return theirs.open(port);
}

static int port_write(Port *port, const char *bytes, int size)
{
	Camera *camera = camera_of(port);
	const unsigned char *container = (const unsigned char *)bytes;
	int error = failing(camera);
	uint16_t type;
	if (error)
		return error;
	memcpy(&type, container + 4, 2);
	memcpy(&camera->their_transaction, container + 8, 4);
	if (type == COMMAND) {
		camera->queued = camera->taken = 0;
		carry_out(camera, container, size);
	} else if (camera->setting >= 0) {
		take_value(camera, container);
	} else {
		forward(camera, container, size);
	}
	return size;
}

static int port_read(Port *port, char *bytes, int size)
{
	Camera *camera = camera_of(port);
	int error = failing(camera);
	uint32_t length, end = 0;
	if (error) {
		camera->queued = camera->taken = 0;
		return error;
	}
	if (camera->taken == camera->queued)
		return ERROR_TIMEOUT;
	while (end <= camera->taken) { /* one container at a time, as short packets part them */
		memcpy(&length, camera->queue + end, 4);
		end += length < 12 ? 12 : length;
	}
	length = end - camera->taken;
	if (length > (uint32_t)size)
		length = size;
	memcpy(bytes, camera->queue + camera->taken, length);
	camera->taken += length;
	if (camera->reading) {
		if (control->kb_per_s)
			usleep(length * 1e6 / 1024 / control->kb_per_s);
		strike(length);
	}
	return length;
}

static int is_folder(Camera *camera, uint32_t handle)
{
	uint32_t words[4] = {16, COMMAND | 0x1008 << 16, 0, handle};
	uint16_t format;
	camera->queued = camera->taken = 0;
	forward(camera, (unsigned char *)words, sizeof words);
	memcpy(&format, camera->queue + 16, 2);
	camera->queued = 0;
	return format == 0x3001;
}

/* Pass on what the virtual camera tells of its pictures; not its changes of properties, of which
 * it makes one up whenever a property is read. */
static void collect(Camera *camera)
{
	unsigned char event[64];
	uint16_t code;
	uint32_t parameter;
	while (theirs.check_int(camera->port, (char *)event, sizeof event, 0) >= 16) {
		memcpy(&code, event + 6, 2);
		memcpy(&parameter, event + 12, 4);
		if (code == PROPERTY_CHANGED || (code == OBJECT_ADDED && control->values[QUALITY] == NEF && !is_folder(camera, parameter)))
			continue; /* set to NEF alone, the camera keeps no JPEG */
		tell(camera, code, parameter);
	}
	if (control->changed) {
		tell(camera, PROPERTY_CHANGED, control->changed);
		control->changed = 0;
	}
}

static int port_check_int(Port *port, char *bytes, int size, int timeout_ms)
{
	Camera *camera = camera_of(port);
	double give_up = now() + (timeout_ms < MOST_WAITED_MS ? timeout_ms : MOST_WAITED_MS) / 1e3;
	for (;;) {
		int error = failing(camera);
		if (error)
			return error;
		collect(camera);
		if (control->fault == NO_EVENTS)
			camera->waiting = 0;
		if (camera->waiting && size >= 16 && now() >= camera->ready_at) {
			uint32_t words[4] = {16, EVENT | camera->events[0][0] << 16, 0, camera->events[0][1]};
			memmove(camera->events, camera->events + 1, --camera->waiting * sizeof camera->events[0]);
			memcpy(bytes, words, 16);
			return 16;
		}
		if (now() >= give_up)
			return ERROR_TIMEOUT;
		usleep(1000);
	}
}

static int port_reset(Port *port)
{
	(void)port;
	control->resets++;
	if (control->fault == WEDGED)
		control->fault = NONE;
	return OK;
}

static int find_device(Port *port, int vendor, int product)
{
	strike(0);
	if (control->fault == UNPLUGGED)
		return ERROR_GONE;
	return theirs.find_device(port, vendor, product);
}

static void load(void)
{
	int fd;
	if (vusb)
		return;
	vusb = dlopen(getenv("RIG_VUSB"), RTLD_NOW | RTLD_LOCAL);
	fd = open(getenv("RIG_CONTROL"), O_RDWR | O_CLOEXEC);
	control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!vusb || control == MAP_FAILED) {
		fprintf(stderr, "the rig's RIG_VUSB or RIG_CONTROL is no use: %s\n", vusb ? "" : dlerror());
		abort();
	}
}

/* With each loading the virtual camera counts its 26 pictures anew. */
__attribute__((destructor)) static void unload(void)
{
	if (vusb) {
		munmap(control, sizeof *control);
		dlclose(vusb);
	}
}

/* What libgphoto2 asks a port library for. */

int gp_port_library_type(void) { return 4; /* USB */ }

int gp_port_library_list(void *list)
{
	load();
	for (int number = 0; number <= control->cameras; number++) {
		Info info;
		char path[32];
		snprintf(path, sizeof path, number ? "usb:001,%03d" : "^usb:", number);
		THEIRS("gp_port_info_new", int (*)(Info *))(&info);
		THEIRS("gp_port_info_set_type", int (*)(Info, int))(info, 4);
		THEIRS("gp_port_info_set_name", int (*)(Info, const char *))(info, number ? "rig" : "");
		THEIRS("gp_port_info_set_path", int (*)(Info, const char *))(info, path);
		THEIRS("gp_port_info_list_append", int (*)(void *, Info))(list, info);
	}
	return OK;
}

Operations *gp_port_library_operations(void)
{
	Operations *loaded, *ours;
	load();
	loaded = THEIRS("gp_port_library_operations", Operations * (*)(void))();
	theirs = *loaded;
	free(loaded);
	ours = calloc(1, sizeof *ours); /* freed by libgphoto2 */
	*ours = theirs;
	ours->init = port_init;
	ours->exit = port_exit;
	ours->open = port_open;
	ours->close = port_close;
	ours->read = port_read;
	ours->write = port_write;
	ours->check_int = port_check_int;
	ours->reset = port_reset;
	ours->find_device = find_device;
	return ours;
}
