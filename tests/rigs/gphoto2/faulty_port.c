/* A libgphoto2 port library: the virtual PTP camera that comes with python-gphoto2, made to fail.
 *
 * It loads libgphoto2's own vusb.so and stands between that and the PTP driver. What the virtual
 * camera lacks it answers itself: live view, bulb, NEF files beside the JPEG, battery, card, iso.
 * Faults are asked for, and what happened is counted, in a file of int32 that both sides map; its
 * fields are those of control.py, in the same order.
 *
 * Environment: RIG_VUSB, the path of vusb.so; RIG_CONTROL, the file; RIG_PREVIEW, the JPEG of live
 * view. No headers of libgphoto2 are needed: what is used of them is below.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef struct Port Port; /* a GPPort: only handed on */
typedef struct Info *Info;

typedef struct {
	int (*init)(Port *), (*exit)(Port *), (*open)(Port *), (*close)(Port *);
	int (*read)(Port *, char *, int);
	int (*check_int)(Port *, char *, int, int);
	int (*write)(Port *, const char *, int);
	int (*update)(Port *);
	void *serial[4];
	int (*find_device)(Port *, int, int);
	int (*find_device_by_class)(Port *, int, int, int);
	void *others[9];
	int (*reset)(Port *);
} Operations;

enum { OK = 0, ERROR_IO = -7, ERROR_TIMEOUT = -10, ERROR_GONE = -52, ERROR_CLAIMED = -53 };
enum { NONE, UNPLUGGED, IO_ERROR, BUSY, CLAIMED, NO_EVENTS, NOT_LIVE, HANG, WEDGED };
enum { COMMAND = 1, DATA = 2, RESPONSE = 3, EVENT = 4 };
enum { RC_OK = 0x2001, RC_BUSY = 0x2019, RC_NOT_LIVE = 0xa00b, EXPOSURE_PROGRAM = 0x500e };
enum { OBJECT_ADDED = 0x4002, PROPERTY_CHANGED = 0x4006, CAPTURE_COMPLETE = 0x400d };

enum { BATTERY, QUALITY, BALANCE, FOCUS, EXPOSURE, ISO, PROPERTIES };

typedef struct {
	int32_t fault, free_mb, delay_ms, cameras; /* asked for */
	int32_t changed;                           /* a property that the camera is to tell of */
	int32_t values[PROPERTIES];                /* which a camera keeps while it is closed, too */
	int32_t opens, captures, resets, frames, live, bulb_ms, commands, deletions, live_stills; /* told */
} Control;

typedef struct {
	uint16_t code;
	int bytes, count;
	uint32_t allowed[8];
} Property;

static const Property properties[PROPERTIES] = {
	{0x5001, 1, 0, {0}}, /* percent */
	{0x5004, 1, 7, {0, 1, 2, 4, 5, 6, 7}}, /* 0 to 2 are JPEG, 4 is NEF, 5 to 7 are both */
	{0x5005, 2, 4, {2, 4, 5, 6}},
	{0x500a, 2, 2, {1, 0x8010}},
	{0x500d, 4, 6, {10, 100, 1000, 10000, 20000, 0xffffffff}}, /* 0.1 ms; the last is bulb */
	{0x500f, 2, 5, {100, 200, 400, 800, 1600}},
};

#define NEF_HANDLE 0x70000000u
#define MOST_EVENTS 32

static struct {
	Port *port;
	int dead;
	unsigned char *queue; /* containers for the driver */
	size_t queued, taken;
	uint32_t their_transaction, our_transaction;
	int setting; /* the property whose value is to come; -1: none */
	uint32_t events[MOST_EVENTS][2];
	int waiting;
	double ready_at, bulb_at;
	uint32_t shots;
	char path[32];
} cameras[8];
typedef typeof(cameras[0]) Camera;

static void *vusb;
static Operations theirs, *ours;
static Control *control;

#define THEIRS(name, type) ((type)dlsym(vusb, name))

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

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
	for (int i = 0; i < 8; i++)
		if (cameras[i].port == port)
			return &cameras[i];
	for (int i = 0; i < 8; i++)
		if (!cameras[i].port) {
			cameras[i].port = port;
			return &cameras[i];
		}
	abort();
}

static int failing(Camera *camera)
{
	while (control->fault == HANG)
		usleep(1000);
	if (control->fault == UNPLUGGED)
		camera->dead = 1;
	if (camera->dead)
		return ERROR_GONE;
	return control->fault == IO_ERROR || control->fault == WEDGED ? ERROR_IO : OK;
}

/* What is written into containers: little-endian, as all machines here are. */

typedef struct {
	unsigned char *at, *start;
} Out;

static void put(Out *out, uint64_t value, int bytes)
{
	memcpy(out->at, &value, bytes);
	out->at += bytes;
}

static void put_text(Out *out, const char *text)
{
	put(out, strlen(text) + 1, 1);
	for (const char *c = text; c == text || c[-1]; c++)
		put(out, *c, 2);
}

static void put_array(Out *out, const uint16_t *values, int count)
{
	put(out, count, 4);
	for (int i = 0; i < count; i++)
		put(out, values[i], 2);
}

static void enqueue(Camera *camera, int type, uint16_t code, const void *body, size_t size)
{
	uint32_t length = 12 + size;
	unsigned char *at;
	camera->queue = realloc(camera->queue, camera->queued + length);
	at = camera->queue + camera->queued;
	memcpy(at, &length, 4);
	memcpy(at + 4, &(uint16_t){type}, 2);
	memcpy(at + 6, &code, 2);
	memcpy(at + 8, &camera->their_transaction, 4);
	memcpy(at + 12, body, size);
	camera->queued += length;
}

static void answer(Camera *camera, uint16_t code) { enqueue(camera, RESPONSE, code, "", 0); }

static void give(Camera *camera, uint16_t operation, Out *out)
{
	enqueue(camera, DATA, operation, out->start, out->at - out->start);
	answer(camera, RC_OK);
}

static void tell(Camera *camera, uint32_t code, uint32_t parameter)
{
	if (camera->waiting == MOST_EVENTS)
		return;
	camera->events[camera->waiting][0] = code;
	camera->events[camera->waiting++][1] = parameter;
}

/* The virtual camera counts transactions itself, and those answered here are not for it. */
static void forward(Camera *camera, const unsigned char *container, int size)
{
	unsigned char *copy = malloc(size), *chunk = malloc(1 << 20);
	int got, first = 1;
	memcpy(copy, container, size);
	memcpy(copy + 8, &camera->our_transaction, 4);
	theirs.write(camera->port, (char *)copy, size);
	while ((got = theirs.read(camera->port, (char *)chunk, 1 << 20)) > 0) {
		size_t before = camera->queued;
		camera->queue = realloc(camera->queue, before + got);
		memcpy(camera->queue + before, chunk, got);
		camera->queued += got;
		first = 0;
	}
	for (size_t at = 0; at + 12 <= camera->queued;) {
		uint32_t length;
		memcpy(&length, camera->queue + at, 4);
		memcpy(camera->queue + at + 8, &camera->their_transaction, 4);
		at += length < 12 ? 12 : length;
	}
	if (!first)
		camera->our_transaction++;
	free(copy);
	free(chunk);
}

/* Pictures. */

static int quality(void) { return control->values[QUALITY]; }

static void take_picture(Camera *camera)
{
	uint32_t words[5] = {20, COMMAND | 0x100e << 16, 0, 0, 0};
	uint16_t code;
	forward(camera, (unsigned char *)words, sizeof words);
	memcpy(&code, camera->queue + 6, 2);
	if (code != RC_OK)
		return;
	control->captures++;
	control->live_stills += control->live;
	camera->shots++;
	camera->ready_at = now() + control->delay_ms / 1e3;
	if (quality() >= 4) /* before the JPEG is told of: the order is any */
		tell(camera, OBJECT_ADDED, NEF_HANDLE + camera->shots);
}

static void object_info(Camera *camera, uint32_t handle)
{
	unsigned char data[512];
	char name[32];
	Out out = {data, data};
	snprintf(name, sizeof name, "GPH_%04u.NEF", handle - NEF_HANDLE);
	put(&out, 0x00010001, 4);
	put(&out, 0x3000, 2);
	put(&out, 0, 2);
	put(&out, 1 << 16, 4);
	put(&out, 0x3808, 2); /* without a thumbnail's format libgphoto2 takes it for no picture */
	for (int i = 0; i < 6; i++)
		put(&out, 0, 4);
	for (int i = 0; i < 4; i++) /* its parent, what kind of folder it is: none */
		put(&out, 0, i == 1 ? 2 : 4);
	put_text(&out, name);
	put_text(&out, "20260801T120000");
	put_text(&out, "20260801T120000");
	put_text(&out, "");
	give(camera, 0x1008, &out);
}

static void object(Camera *camera, uint32_t handle)
{
	static unsigned char data[1 << 16];
	Out out = {data + sizeof data, data};
	memset(data, handle & 0xff, sizeof data);
	memcpy(data, "II*\0\10\0\0\0", 8); /* begins as a NEF does */
	give(camera, 0x1009, &out);
}

static void live_frame(Camera *camera)
{
	enum { HEADER = 384, COMMENT = 8 };
	static unsigned char jpeg[1 << 20];
	static long size;
	unsigned char *data;
	Out out;
	if (!size) {
		FILE *file = fopen(getenv("RIG_PREVIEW"), "rb");
		size = fread(jpeg, 1, sizeof jpeg, file);
		fclose(file);
	}
	data = calloc(1, HEADER + COMMENT + size);
	out = (Out){data + HEADER, data};
	put(&out, 0xd8ff, 2); /* its number is a comment behind the start: no two frames are alike */
	put(&out, 0x0600feff, 4);
	put(&out, ++control->frames, 4);
	memcpy(out.at, jpeg + 2, size - 2);
	out.at += size - 2;
	give(camera, 0x9203, &out);
	free(data);
}

static void device_info(Camera *camera)
{
	static const uint16_t operations[] = {
		0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006, 0x1007, 0x1008, 0x1009, 0x100a,
		0x100b, 0x100e, 0x1014, 0x1015, 0x1016, 0x90c2, 0x90c8, 0x9201, 0x9202, 0x9203, 0x920c,
	};
	static const uint16_t events[] = {OBJECT_ADDED, 0x4003, PROPERTY_CHANGED, 0x400a, CAPTURE_COMPLETE};
	static const uint16_t known[] = {
		0x5001, 0x5003, 0x5004, 0x5005, 0x5007, 0x500a, 0x500d, 0x500f, 0x5010, 0x5011,
	};
	static const uint16_t jpeg[] = {0x3801};
	unsigned char data[1024];
	char serial[16];
	Out out = {data, data};
	put(&out, 100, 2);
	put(&out, 10, 4);
	put(&out, 100, 2);
	put_text(&out, "");
	put(&out, 0, 2);
	put_array(&out, operations, sizeof operations / 2);
	put_array(&out, events, sizeof events / 2);
	put_array(&out, known, sizeof known / 2);
	put_array(&out, jpeg, 1);
	put_array(&out, jpeg, 1);
	put_text(&out, "Nikon Corporation");
	put_text(&out, "D750");
	put_text(&out, "V1.10");
	snprintf(serial, sizeof serial, "000000600%s", camera->path + strlen(camera->path) - 3);
	put_text(&out, serial);
	give(camera, 0x1001, &out);
}

static void storage_info(Camera *camera)
{
	unsigned char data[256];
	Out out = {data, data};
	put(&out, 4, 2);
	put(&out, 3, 2);
	put(&out, 0, 2);
	put(&out, 32000ull << 20, 8);
	put(&out, (uint64_t)control->free_mb << 20, 8);
	put(&out, control->free_mb / 20, 4);
	put_text(&out, "card");
	put_text(&out, "");
	give(camera, 0x1005, &out);
}

/* Return the number of a property that is answered here, or -1. */
static int property(uint32_t code)
{
	for (int i = 0; i < PROPERTIES; i++)
		if (properties[i].code == code)
			return i;
	return -1;
}

static void describe(Camera *camera, int number)
{
	static const uint16_t types[] = {0, 2, 4, 0, 6};
	const Property *about = &properties[number];
	unsigned char data[256];
	Out out = {data, data};
	put(&out, about->code, 2);
	put(&out, types[about->bytes], 2);
	put(&out, about->count > 0, 1);
	put(&out, control->values[number], about->bytes);
	put(&out, control->values[number], about->bytes);
	if (about->count) {
		put(&out, 2, 1);
		put(&out, about->count, 2);
		for (int i = 0; i < about->count; i++)
			put(&out, about->allowed[i], about->bytes);
	} else { /* from 0 to 100 */
		put(&out, 1, 1);
		put(&out, 0, about->bytes);
		put(&out, 100, about->bytes);
		put(&out, 1, about->bytes);
	}
	give(camera, 0x1014, &out);
}

static void value_of(Camera *camera, int number)
{
	unsigned char data[4];
	Out out = {data, data};
	put(&out, control->values[number], properties[number].bytes);
	give(camera, 0x1015, &out);
}

static int is_own_object(uint32_t handle)
{
	return handle > NEF_HANDLE && handle < NEF_HANDLE + (1 << 24);
}

static void carry_out(Camera *camera, const unsigned char *container, int size)
{
	uint32_t about = 0;
	uint16_t code;
	int number;
	memcpy(&code, container + 6, 2);
	if (size >= 16)
		memcpy(&about, container + 12, 4);
	number = property(about);
	camera->setting = -1;
	control->commands++;
	control->deletions += code == 0x100b;
	if (control->fault == BUSY && code != 0x1002 && code != 0x1003) {
		answer(camera, RC_BUSY);
	} else if (code == 0x1001) {
		device_info(camera);
	} else if (code == 0x1005) {
		storage_info(camera);
	} else if (code == 0x1008 && is_own_object(about)) {
		object_info(camera, about);
	} else if (code == 0x1009 && is_own_object(about)) {
		object(camera, about);
	} else if (code == 0x100e) {
		take_picture(camera);
	} else if (code == 0x1014 && number >= 0) {
		describe(camera, number);
	} else if (code == 0x1015 && number >= 0) {
		value_of(camera, number);
	} else if (code == 0x1016 && (number >= 0 || about == EXPOSURE_PROGRAM)) {
		camera->setting = number >= 0 ? number : PROPERTIES; /* its value is to come */
	} else if (code == 0x9201 || code == 0x9202) {
		control->live = code == 0x9201;
		answer(camera, RC_OK);
	} else if (code == 0x9203 && (!control->live || control->fault == NOT_LIVE)) {
		answer(camera, RC_NOT_LIVE);
	} else if (code == 0x9203) {
		live_frame(camera);
	} else if (code == 0x9207) {
		camera->bulb_at = now();
		answer(camera, RC_OK);
	} else if (code == 0x920c) {
		control->bulb_ms = (now() - camera->bulb_at) * 1e3;
		take_picture(camera);
	} else if (code == 0x90c2 || code == 0x90c8 || is_own_object(about)) {
		answer(camera, RC_OK); /* among them the deletion of an object */
	} else {
		forward(camera, container, size);
	}
}

static void take_value(Camera *camera, const unsigned char *container)
{
	if (camera->setting < PROPERTIES)
		memcpy(&control->values[camera->setting], container + 12, properties[camera->setting].bytes);
	camera->setting = -1;
	answer(camera, RC_OK);
}

/* The port's operations. */

static int port_init(Port *port)
{
	Camera *camera = camera_of(port);
	int result = theirs.init(port);
	snprintf(camera->path, sizeof camera->path, "%s", path_of(port));
	return result;
}

static int port_exit(Port *port)
{
	Camera *camera = camera_of(port);
	free(camera->queue);
	memset(camera, 0, sizeof *camera);
	return theirs.exit(port);
}

static int port_open(Port *port)
{
	Camera *camera = camera_of(port);
	if (control->fault == CLAIMED)
		return ERROR_CLAIMED;
	if (control->fault == UNPLUGGED)
		return ERROR_GONE;
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
		if (code == PROPERTY_CHANGED || (code == OBJECT_ADDED && quality() == 4 && !is_folder(camera, parameter)))
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
	double give_up = now() + timeout_ms / 1e3;
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
	Operations *loaded;
	load();
	loaded = THEIRS("gp_port_library_operations", Operations * (*)(void))();
	theirs = *loaded;
	free(loaded);
	ours = calloc(1, sizeof *ours); /* freed by libgphoto2 */
	*ours = theirs;
	ours->init = port_init;
	ours->exit = port_exit;
	ours->open = port_open;
	ours->read = port_read;
	ours->write = port_write;
	ours->check_int = port_check_int;
	ours->reset = port_reset;
	ours->find_device = find_device;
	return ours;
}
