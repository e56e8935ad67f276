/* PTP's containers and events, on their way between libgphoto2 and the virtual camera. */
#include "rig.h"

void put(Out *out, uint64_t value, int bytes)
{
	memcpy(out->at, &value, bytes);
	out->at += bytes;
}

void put_text(Out *out, const char *text)
{
	put(out, strlen(text) + 1, 1);
	for (const char *c = text; c == text || c[-1]; c++)
		put(out, *c, 2);
}

void put_array(Out *out, const uint16_t *values, int count)
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

void answer(Camera *camera, uint16_t code) { enqueue(camera, RESPONSE, code, "", 0); }

void give(Camera *camera, uint16_t operation, Out *out)
{
	enqueue(camera, DATA, operation, out->start, out->at - out->start);
	answer(camera, RC_OK);
}

void tell(Camera *camera, uint32_t code, uint32_t parameter)
{
	if (camera->waiting == MOST_EVENTS)
		return;
	camera->events[camera->waiting][0] = code;
	camera->events[camera->waiting++][1] = parameter;
}

/* The virtual camera counts transactions itself, and those answered here are not for it. */
void forward(Camera *camera, const unsigned char *container, int size)
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

/* Spoil an object that is to be given, or what is told of it, as `cut` asks for. */
void spoil(Camera *camera, uint16_t code)
{
	static const char page[] = "<!DOCTYPE html><html><body>Sign in</body></html>";
	uint32_t length, size;
	if (!control->cuts || (code == 0x1008) != (control->cut == UNANNOUNCED))
		return;
	memcpy(&length, camera->queue, 4);
	if (code == 0x1008) {
		uint16_t format;
		memcpy(&format, camera->queue + 16, 2);
		if (format == 0x3001) /* a folder */
			return;
		memset(camera->queue + 20, 0, 4);
	} else {
		size = length - 12;
		if (control->cut == PAGE)
			memcpy(memset(camera->queue + 12, ' ', size), page, sizeof page - 1);
		else
			size = control->cut == HALF ? size / 2 : 0;
		part_of(camera, 0, size);
	}
	control->cuts--;
}

/* Leave of the data that are to be given a part. */
void part_of(Camera *camera, uint32_t offset, uint32_t most)
{
	uint32_t length, size;
	memcpy(&length, camera->queue, 4);
	size = length - 12;
	offset = offset < size ? offset : size;
	size = size - offset < most ? size - offset : most;
	memmove(camera->queue + 12, camera->queue + 12 + offset, size);
	memmove(camera->queue + 12 + size, camera->queue + length, camera->queued - length);
	camera->queued -= length - 12 - size;
	length = 12 + size;
	memcpy(camera->queue, &length, 4);
}
