/* Pictures: the virtual camera's own JPEG, NEF files beside it, frames of live view. */
#include "rig.h"

#include <stdio.h>

#define NEF_HANDLE 0x70000000u

int is_own_object(uint32_t handle)
{
	return handle > NEF_HANDLE && handle < NEF_HANDLE + (1 << 24);
}

void take_picture(Camera *camera)
{
	uint32_t words[5] = {20, COMMAND | 0x100e << 16, 0, 0, 0};
	uint16_t code;
	forward(camera, (unsigned char *)words, sizeof words);
	memcpy(&code, camera->queue + 6, 2);
	if (code != RC_OK)
		return;
	control->captures++;
	control->live_stills += control->live;
	camera->ready_at = now() + control->delay_ms / 1e3;
	if (control->values[QUALITY] >= NEF) /* before the JPEG is told of: the order is any */
		tell(camera, OBJECT_ADDED, control->last_nef = NEF_HANDLE + control->captures);
}

/* List, in addition to the virtual camera's own objects, the last NEF: it is on the card. */
void list_objects(Camera *camera, uint32_t folder)
{
	unsigned char entry[4];
	uint32_t length, count;
	memcpy(&length, camera->queue, 4);
	memcpy(&count, camera->queue + 12, 4);
	if (!control->last_nef || (folder && folder != ROOT) || length != 16 + 4 * count)
		return;
	memcpy(entry, &control->last_nef, 4);
	camera->queue = realloc(camera->queue, camera->queued + 4);
	memmove(camera->queue + length + 4, camera->queue + length, camera->queued - length);
	memcpy(camera->queue + length, entry, 4);
	camera->queued += 4;
	length += 4, count++;
	memcpy(camera->queue, &length, 4);
	memcpy(camera->queue + 12, &count, 4);
}

void object_info(Camera *camera, uint32_t handle)
{
	unsigned char data[512];
	char name[32];
	Out out = {data, data};
	snprintf(name, sizeof name, "GPH_%04u.NEF", handle - NEF_HANDLE);
	put(&out, 0x00010001, 4);
	put(&out, 0x3000, 2);
	put(&out, 0, 2);
	put(&out, control->nef_kb << 10, 4);
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

void object(Camera *camera, uint32_t handle)
{
	size_t size = control->nef_kb << 10;
	unsigned char *data = malloc(size);
	Out out = {data + size, data};
	memset(data, handle & 0xff, size);
	memcpy(data, "II*\0\10\0\0\0\0\0\0\0\0\0", 14); /* begins as a NEF does, with one empty table */
	give(camera, 0x1009, &out);
	free(data);
}

void live_frame(Camera *camera)
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
