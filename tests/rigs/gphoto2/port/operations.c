/* PTP's operations that are answered here: what the virtual camera lacks, or cannot be told. */
#include "rig.h"

#include <stdio.h>

static const Property properties[PROPERTIES] = {
	{0x5001, 1, 0, {0}}, /* percent */
	{0x5004, 1, 7, {0, 1, 2, 4, 5, 6, 7}}, /* 0 to 2 are JPEG, 4 is NEF, 5 to 7 are both */
	{0x5005, 2, 4, {2, 4, 5, 6}},
	{0x500a, 2, 2, {1, 0x8010}},
	{0x500d, 4, 6, {10, 100, 1000, 10000, 20000, 0xffffffff}}, /* 0.1 ms; the last is bulb */
	{0x500f, 2, 5, {100, 200, 400, 800, 1600}},
};

static void device_info(Camera *camera)
{
	static const uint16_t operations[] = {
		0x101b, 0x1001, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006, 0x1007, 0x1008, 0x1009, 0x100a,
		0x100b, 0x100e, 0x1014, 0x1015, 0x1016, 0x90c2, 0x90c8, 0x9201, 0x9202, 0x9203, 0x9207, 0x920c,
	};
	static const uint16_t events[] = {OBJECT_ADDED, 0x4003, PROPERTY_CHANGED, 0x400a, CAPTURE_COMPLETE};
	static const uint16_t known[] = {
		0x5001, 0x5003, 0x5004, 0x5005, 0x5007, 0x500a, 0x500d, 0x500f, 0x5010, 0x5011,
	};
	static const uint16_t jpeg[] = {0x3801};
	unsigned char data[1024];
	char serial[16];
	int number = atoi(camera->path + strlen(camera->path) - 3);
	Out out = {data, data};
	put(&out, 100, 2);
	put(&out, 10, 4);
	put(&out, 100, 2);
	put_text(&out, "");
	put(&out, 0, 2);
	put_array(&out, operations + !control->partial, sizeof operations / 2 - !control->partial);
	put_array(&out, events, sizeof events / 2);
	put_array(&out, known, sizeof known / 2);
	put_array(&out, jpeg, 1);
	put_array(&out, jpeg, 1);
	put_text(&out, "Nikon Corporation");
	put_text(&out, "D750");
	put_text(&out, "V1.10");
	snprintf(serial, sizeof serial, "000000600%03d", number == 1 && control->body ? control->body : number);
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

/* Information on an object, all of it, or a part. */
static void read_object(Camera *camera, const unsigned char *container, int size, uint32_t handle)
{
	uint32_t words[7], whole[4] = {16, COMMAND | 0x1009 << 16, 0, handle};
	uint16_t code;
	memcpy(&code, container + 6, 2);
	memcpy(words, container, size < 24 ? size : 24);
	if (code == 0x1008 && is_own_object(handle)) {
		object_info(camera, handle);
	} else if (code == 0x1008) {
		forward(camera, container, size);
	} else {
		if (is_own_object(handle))
			object(camera, handle);
		else
			forward(camera, (unsigned char *)whole, sizeof whole);
		camera->reading = 1;
	}
	spoil(camera, code);
	if (code == 0x101b) {
		memcpy(camera->queue + 6, &code, 2);
		part_of(camera, words[4], words[5]);
	}
}

void carry_out(Camera *camera, const unsigned char *container, int size)
{
	uint32_t about = 0;
	uint16_t code;
	int number;
	memcpy(&code, container + 6, 2);
	if (size >= 16)
		memcpy(&about, container + 12, 4);
	number = property(about);
	camera->setting = -1;
	camera->reading = 0;
	control->commands++;
	control->deletions += code == 0x100b;
	if (number >= 0 && control->values[number] == ABSENT) {
		answer(camera, RC_NOT_SUPPORTED);
	} else if (control->fault == BUSY && code != 0x1002 && code != 0x1003) {
		answer(camera, RC_BUSY);
	} else if (code == 0x1001) {
		device_info(camera);
	} else if (code == 0x1005) {
		storage_info(camera);
	} else if (code == 0x1007) {
		uint32_t folder = 0;
		if (size >= 24)
			memcpy(&folder, container + 20, 4);
		forward(camera, container, size);
		list_objects(camera, folder);
	} else if (code == 0x1008 || code == 0x1009 || code == 0x101b) {
		read_object(camera, container, size, about);
	} else if (control->refusal && (code == 0x100e || code == 0x9207)) {
		control->refused++;
		answer(camera, control->refusal);
	} else if (code == 0x100e) {
		take_picture(camera);
	} else if (code == 0x1014 && number >= 0) {
		describe(camera, number);
	} else if (code == 0x1015 && number >= 0) {
		value_of(camera, number);
	} else if (code == 0x1016 && (number >= 0 || about == EXPOSURE_PROGRAM)) {
		camera->setting = number >= 0 ? number : PROPERTIES; /* its value is to come */
		if (control->strike && control->strike_after_kb < 0)
			begin_strike();
	} else if (code == 0x9201 || code == 0x9202) {
		control->live = code == 0x9201;
		answer(camera, RC_OK);
	} else if (code == 0x9203 && (!control->live || control->fault == NOT_LIVE)) {
		answer(camera, RC_NOT_LIVE);
	} else if (code == 0x9203) {
		live_frame(camera);
	} else if (code == 0x9207 && control->values[EXPOSURE] == BULB) {
		camera->bulb_at = now();
		answer(camera, RC_OK);
	} else if (code == 0x9207 && control->fault == UNFOCUSED && about == FOCUSING) {
		answer(camera, RC_UNFOCUSED);
	} else if (code == 0x9207) {
		control->focused += about == FOCUSING;
		take_picture(camera);
	} else if (code == 0x90c8 && control->fault == WRITING) {
		control->waits++;
		answer(camera, RC_BUSY);
	} else if (code == 0x920c) {
		control->bulb_ms = (now() - camera->bulb_at) * 1e3;
		take_picture(camera);
	} else if (code == 0x90c2 || code == 0x90c8 || is_own_object(about)) {
		answer(camera, RC_OK); /* among them the deletion of an object */
	} else {
		forward(camera, container, size);
	}
}

void take_value(Camera *camera, const unsigned char *container)
{
	if (camera->setting < PROPERTIES)
		memcpy(&control->values[camera->setting], container + 12, properties[camera->setting].bytes);
	camera->setting = -1;
	answer(camera, RC_OK);
}
