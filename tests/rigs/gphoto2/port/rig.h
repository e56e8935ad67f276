/* What the rig's port library shares: see port.c.
 *
 * No headers of libgphoto2 are needed: what is used of them is declared here.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
enum { NONE, UNPLUGGED, IO_ERROR, BUSY, CLAIMED, NO_EVENTS, NOT_LIVE, HANG, WEDGED, UNFOCUSED, WRITING };
enum { EMPTY = 1, HALF, PAGE, UNANNOUNCED }; /* of `cut` */
enum { COMMAND = 1, DATA = 2, RESPONSE = 3, EVENT = 4 };
enum { RC_OK = 0x2001, RC_NOT_SUPPORTED = 0x200a, RC_BUSY = 0x2019, RC_UNFOCUSED = 0xa002, RC_NOT_LIVE = 0xa00b };
enum { ROOT = 0xffffffff, FOCUSING = 0xfffffffe, BULB = -1 };
enum { EXPOSURE_PROGRAM = 0x500e };
enum { OBJECT_ADDED = 0x4002, PROPERTY_CHANGED = 0x4006, CAPTURE_COMPLETE = 0x400d };

enum { ABSENT = -2 }; /* in place of a value: the camera does not have the property */
enum { NEF = 4 }; /* of QUALITY; what is more is NEF and JPEG */
enum { BATTERY, QUALITY, BALANCE, FOCUS, EXPOSURE, ISO, PROPERTIES };

typedef struct {
	int32_t fault, free_mb, delay_ms, cameras; /* asked for */
	int32_t changed;                           /* a property that the camera is to tell of */
	int32_t values[PROPERTIES];                /* which a camera keeps while it is closed, too */
	int32_t opens, captures, resets, frames, live, bulb_ms, commands, deletions, live_stills, focused, waits; /* told */
	int32_t refusal;                           /* what the shutter is answered with, unless 0 */
	int32_t strike, strike_after_kb, strike_ms; /* a fault that begins when so much of objects was read; -1: when a property is set */
	int32_t cut, cuts;                         /* how the next so many objects are spoilt */
	int32_t kb_per_s, nef_kb, partial, body, refused, last_nef, struck_until;
} Control;

typedef struct {
	uint16_t code;
	int bytes, count;
	uint32_t allowed[8];
} Property;

#define MOST_EVENTS 32

typedef struct {
	Port *port;
	int dead, claim;
	unsigned char *queue; /* containers for the driver */
	size_t queued, taken;
	uint32_t their_transaction, our_transaction;
	int setting; /* the property whose value is to come; -1: none */
	uint32_t events[MOST_EVENTS][2];
	int waiting;
	double ready_at, bulb_at;
	int reading; /* an object */
	char path[32];
} Camera;

/* Bytes being written: little-endian, as all machines here are. */
typedef struct {
	unsigned char *at, *start;
} Out;

extern Operations theirs; /* those of libgphoto2's own virtual camera */
extern Control *control;

static inline double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* containers.c */
void put(Out *out, uint64_t value, int bytes);
void put_text(Out *out, const char *text);
void put_array(Out *out, const uint16_t *values, int count);
void answer(Camera *camera, uint16_t code);
void give(Camera *camera, uint16_t operation, Out *out);
void tell(Camera *camera, uint32_t code, uint32_t parameter);
void forward(Camera *camera, const unsigned char *container, int size);
void spoil(Camera *camera, uint16_t code);
void part_of(Camera *camera, uint32_t offset, uint32_t most);

/* port.c */
void begin_strike(void);

/* operations.c */
void carry_out(Camera *camera, const unsigned char *container, int size);
void take_value(Camera *camera, const unsigned char *container);

/* objects.c */
int is_own_object(uint32_t handle);
void take_picture(Camera *camera);
void list_objects(Camera *camera, uint32_t folder);
void object_info(Camera *camera, uint32_t handle);
void object(Camera *camera, uint32_t handle);
void live_frame(Camera *camera);
