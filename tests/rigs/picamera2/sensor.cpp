/* What libcamera's virtual camera lacks of a real one: a pace, controls, and faults on command.
 *
 * To be preloaded: functions of libcamera stand here under their own names, do something before or
 * after, and call the real one. The camera has one sensor: `sensor` below.
 */
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <string>
#include <sys/file.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include <libcamera/formats.h>
#include <libcamera/libcamera.h>
#include <libcamera/property_ids.h>

using namespace libcamera;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

template<typename Function>
Function *next(const char *symbol)
{
	return reinterpret_cast<Function *>(dlsym(RTLD_NEXT, symbol));
}

/* The fault that holds now: one letter in the file that RIG_FAULT names, written by the test. */
enum Fault : char {
	None = '-',
	Silent = 's', /* no frame completes, until it is lifted or the camera is stopped */
	Stuck = 'k',  /* the same, and a new start lifts it: an ISP that needs one */
	Block = 'b',  /* the pipeline's thread hangs, and whoever stops the camera with it */
	Error = 'e',  /* every frame completes as a bad one */
	Refuse = 'r', /* queueing a buffer fails: "Invalid argument" */
	Crash = 'c',  /* the process dies of the next frame */
};

int openSwitch()
{
	const char *path = getenv("RIG_FAULT");
	return path ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

std::atomic<char> &fault()
{
	static std::atomic<char> *shared = [] {
		static std::atomic<char> none{ None };
		void *page = mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, openSwitch(), 0);
		return page == MAP_FAILED ? &none : static_cast<std::atomic<char> *>(page);
	}();
	return *shared;
}

/* Held while the camera is open, as the kernel's devices are. */
int lock = -1;

std::atomic<bool> stopping{ false };

/* What is set reaches the frame after next, as with a sensor that latches its registers. */
constexpr unsigned kDelay = 2;

struct Settings {
	int32_t exposure = 10000;
	float gain = 1.0f;
	float lens = 1.0f;
	int32_t afMode = controls::AfModeManual;
	int64_t leastDuration = getenv("RIG_FRAME_US") ? atoi(getenv("RIG_FRAME_US")) : 33333;
};

class Sensor
{
public:
	void set(const ControlList &list)
	{
		std::lock_guard lock(mutex_);
		if (auto v = list.get(controls::ExposureTime))
			wanted_.exposure = *v;
		if (auto v = list.get(controls::AnalogueGain))
			wanted_.gain = *v;
		if (auto v = list.get(controls::AfMode))
			wanted_.afMode = *v;
		/* As the Pi's: heeded in manual mode only. */
		if (auto v = list.get(controls::LensPosition); v && wanted_.afMode == controls::AfModeManual)
			wanted_.lens = *v;
		if (auto v = list.get(controls::AfTrigger); v && *v == controls::AfTriggerStart)
			scanning_ = kScan;
		if (auto v = list.get(controls::AeEnable); v && *v) {
			wanted_.exposure = Settings().exposure;
			wanted_.gain = Settings().gain;
		}
		if (auto v = list.get(controls::ExposureTimeMode); v && *v == controls::ExposureTimeModeAuto)
			wanted_.exposure = Settings().exposure;
		if (auto v = list.get(controls::AnalogueGainMode); v && *v == controls::AnalogueGainModeAuto)
			wanted_.gain = Settings().gain;
		if (auto v = list.get(controls::FrameDurationLimits))
			wanted_.leastDuration = std::max<int64_t>((*v)[0], Settings().leastDuration);
	}

	/* Begin anew: stopping has ended the exposure that was under way. */
	void restart(const ControlList *list)
	{
		if (list)
			set(*list);
		std::lock_guard lock(mutex_);
		std::fill_n(pipeline_, kDelay, wanted_);
		due_ = Clock::now();
	}

	/* Settle into this frame's settings, and wait until its exposure is over. */
	void expose(ControlList &metadata)
	{
		Settings now;
		{
			std::lock_guard lock(mutex_);
			for (unsigned i = 0; i < kDelay; i++)
				pipeline_[i] = i + 1 < kDelay ? pipeline_[i + 1] : wanted_;
			now = pipeline_[0];
		}
		auto duration = std::chrono::microseconds(std::max<int64_t>(now.exposure, now.leastDuration));
		due_ = std::max(due_ + duration, Clock::now());
		while (Clock::now() < due_ && !stopping)
			std::this_thread::sleep_until(std::min(due_, Clock::now() + 20ms));
		/* The virtual camera's own is that of the request's queueing. */
		metadata.set(controls::SensorTimestamp, Clock::now().time_since_epoch() / 1ns);
		metadata.set(controls::ExposureTime, now.exposure);
		metadata.set(controls::AnalogueGain, now.gain);
		metadata.set(controls::LensPosition, now.lens);
		/* What a raw file tells of its sensor. */
		metadata.set(controls::DigitalGain, 1.0f);
		metadata.set(controls::ColourGains, std::array{ 1.0f, 1.0f });
		metadata.set(controls::ColourCorrectionMatrix,
			     std::array{ 1.0f, 0.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f, 0.0f, 1.0f });
		metadata.set(controls::SensorBlackLevels, std::array{ 0, 0, 0, 0 });
		if (scanning_)
			scanning_--;
		metadata.set(controls::AfState, scanning_ ? controls::AfStateScanning
							  : controls::AfStateFocused);
	}

private:
	static constexpr unsigned kScan = 5;
	std::mutex mutex_;
	Settings wanted_, pipeline_[kDelay];
	std::atomic<unsigned> scanning_ = 0;
	Clock::time_point due_;
};

Sensor sensor;

const PixelFormat kRaw = formats::SRGGB12_CSI2P;

template<typename T>
ControlInfo range(T least, T most, T usual)
{
	return ControlInfo(ControlValue(least), ControlValue(most), ControlValue(usual));
}

} /* namespace */

namespace libcamera {

/* What the camera can be told. */
const ControlInfoMap &Camera::controls() const
{
	static auto *real = next<const ControlInfoMap &(const Camera *)>("_ZNK9libcamera6Camera8controlsEv");
	static const ControlInfoMap all = [this] {
		ControlInfoMap::Map map;
		for (const auto &[id, info] : real(this))
			map.emplace(id, info);
		map.emplace(&controls::ExposureTime, range<int32_t>(100, 10'000'000, 10'000));
		map.emplace(&controls::AnalogueGain, range(1.0f, 16.0f, 1.0f));
		map.emplace(&controls::AeEnable, range(false, true, true));
		map.emplace(&controls::ExposureTimeMode, range<int32_t>(0, 1, 0));
		map.emplace(&controls::AnalogueGainMode, range<int32_t>(0, 1, 0));
		map.emplace(&controls::AfMode, range<int32_t>(0, 2, 0));
		map.emplace(&controls::AfTrigger, range<int32_t>(0, 1, 0));
		map.emplace(&controls::LensPosition, range(0.0f, 15.0f, 1.0f));
		map.emplace(&controls::AwbEnable, range(false, true, true));
		map.emplace(&controls::AwbMode, range<int32_t>(0, 7, 0));
		map.emplace(&controls::Sharpness, range(0.0f, 16.0f, 1.0f));
		return ControlInfoMap(std::move(map), controls::controls);
	}();
	return all;
}

int Camera::acquire()
{
	static auto *real = next<int(Camera *)>("_ZN9libcamera6Camera7acquireEv");
	lock = openSwitch();
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB)) {
		close(lock);
		return -EBUSY;
	}
	return real(this);
}

int Camera::release()
{
	static auto *real = next<int(Camera *)>("_ZN9libcamera6Camera7releaseEv");
	close(lock);
	return real(this);
}

/* A raw stream is one of the others under another name: see `validate` below. */
std::unique_ptr<CameraConfiguration> Camera::generateConfiguration(Span<const StreamRole> roles)
{
	static auto *real = next<std::unique_ptr<CameraConfiguration>(Camera *, Span<const StreamRole>)>(
		"_ZN9libcamera6Camera21generateConfigurationENS_4SpanIKNS_10StreamRoleELm18446744073709551615EEE");
	std::vector<StreamRole> known(roles.begin(), roles.end());
	std::replace(known.begin(), known.end(), StreamRole::Raw, StreamRole::Viewfinder);
	auto configuration = real(this, known);
	for (size_t i = 0; configuration && i < roles.size(); i++) {
		if (roles[i] != StreamRole::Raw)
			continue;
		StreamConfiguration &usual = configuration->at(i);
		StreamConfiguration raw({ { { kRaw, { usual.formats().range(usual.pixelFormat) } } } });
		raw.pixelFormat = kRaw;
		raw.size = usual.size;
		raw.bufferCount = usual.bufferCount;
		usual = raw;
	}
	return configuration;
}

/* A camera with a colour filter is one of a Pi's, to Picamera2. */
const ControlList &Camera::properties() const
{
	static auto *real = next<const ControlList &(const Camera *)>("_ZNK9libcamera6Camera10propertiesEv");
	static std::map<const Camera *, ControlList> all;
	auto [entry, added] = all.try_emplace(this, real(this));
	if (added)
		entry->second.set(properties::draft::ColorFilterArrangement, properties::draft::RGGB);
	return entry->second;
}

int Camera::start(const ControlList *list)
{
	static auto *real = next<int(Camera *, const ControlList *)>(
		"_ZN9libcamera6Camera5startEPKNS_11ControlListE");
	stopping = false;
	char stuck = Stuck;
	fault().compare_exchange_strong(stuck, None);
	sensor.restart(list);
	return real(this, list);
}

int Camera::stop()
{
	static auto *real = next<int(Camera *)>("_ZN9libcamera6Camera4stopEv");
	stopping = true;
	return real(this);
}

int Camera::queueRequest(Request *request)
{
	static auto *real = next<int(Camera *, Request *)>(
		"_ZN9libcamera6Camera12queueRequestEPNS_7RequestE");
	if (fault() == Refuse)
		return -EINVAL;
	sensor.set(request->controls());
	return real(this, request);
}

} /* namespace libcamera */

/* Classes that libcamera keeps to itself, by their symbols. */
extern "C" {

std::string _ZNK9libcamera15PipelineHandler17configurationFileERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEES8_b(
	const void *, const std::string &, const std::string &, bool)
{
	const char *path = getenv("RIG_CAMERAS");
	return path ? path : "";
}

/* Its buffers have two planes where Picamera2's have one: two thirds of an NV12 picture are light,
 * the rest is colour.
 */
void _ZN9libcamera11FrameBufferC1ENS_4SpanIKNS0_5PlaneELm18446744073709551615EEEj(
	FrameBuffer *self, Span<const FrameBuffer::Plane> planes, unsigned int cookie)
{
	using Constructor = void(FrameBuffer *, Span<const FrameBuffer::Plane>, unsigned int);
	static auto *real = next<Constructor>(
		"_ZN9libcamera11FrameBufferC1ENS_4SpanIKNS0_5PlaneELm18446744073709551615EEEj");
	std::vector<FrameBuffer::Plane> both(planes.begin(), planes.end());
	if (both.size() == 1) {
		const unsigned int light = both[0].length / 3 * 2;
		both.push_back({ both[0].fd, both[0].offset + light, both[0].length - light });
		both[0].length = light;
	}
	real(self, both, cookie);
}

/* It gives NV12 only, of 12 bits a pixel: as many as a mosaic of 12 bits, packed, has. What is on it
 * makes no sense.
 */
CameraConfiguration::Status _ZN9libcamera26VirtualCameraConfiguration8validateEv(CameraConfiguration *self)
{
	static auto *real = next<CameraConfiguration::Status(CameraConfiguration *)>(
		"_ZN9libcamera26VirtualCameraConfiguration8validateEv");
	std::vector<StreamConfiguration *> raw;
	for (StreamConfiguration &stream : *self)
		if (stream.pixelFormat == kRaw)
			raw.push_back(&stream);
	for (StreamConfiguration *stream : raw)
		stream->pixelFormat = formats::NV12;
	auto status = real(self);
	for (StreamConfiguration *stream : raw) {
		stream->pixelFormat = kRaw;
		stream->stride = stream->size.width * 3 / 2;
	}
	return status;
}

void _ZN9libcamera17VirtualCameraData14processRequestEPNS_7RequestE(void *self, Request *request)
{
	static auto *real = next<void(void *, Request *)>(
		"_ZN9libcamera17VirtualCameraData14processRequestEPNS_7RequestE");
	sensor.expose(const_cast<ControlList &>(request->metadata()));
	for (char now = fault(); now == Block || ((now == Silent || now == Stuck) && !stopping); now = fault())
		std::this_thread::sleep_for(5ms);
	if (fault() == Crash)
		raise(SIGSEGV);
	real(self, request);
}

int ARGBToNV12(const uint8_t *argb, int argbStride, uint8_t *y, int yStride, uint8_t *uv, int uvStride,
	       int width, int height)
{
	static auto *real = next<decltype(ARGBToNV12)>("ARGBToNV12");
	if (fault() == Error)
		return -1;
	return real(argb, argbStride, y, yStride, uv, uvStride, width, height);
}

} /* extern "C" */
