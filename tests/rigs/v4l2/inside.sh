# The guest's first program: does what an init does, runs what the host asks for, powers off.
# `$rig_root` (the packages) and `$rig_run` (what to run) come from the kernel's command line.
busybox="$rig_root/bin/busybox"
"$busybox" mount -t tmpfs tmpfs /run
"$busybox" mkdir -p /dev/shm /dev/pts
"$busybox" mount -t tmpfs tmpfs /dev/shm
"$busybox" mount -t devpts devpts /dev/pts
"$busybox" ifconfig lo 127.0.0.1 up
# Debian's udev makes the names in /dev/v4l. It looks for its rules in one place only, and goes by
# the name that it is called.
"$busybox" mkdir -p /usr/lib/udev
"$busybox" mount --bind "$rig_root/lib/udev" /usr/lib/udev
"$busybox" ln -s "$rig_root/bin/udevadm" /run/systemd-udevd
LD_LIBRARY_PATH="$rig_root/usr/lib/x86_64-linux-gnu:$rig_root/lib/x86_64-linux-gnu" \
    /run/systemd-udevd --daemon
"$busybox" ln -s "/dev/$("$busybox" ls /sys/class/virtio-ports)" /run/rig
echo booted >/run/rig
"$busybox" sh "$rig_run" </dev/null
"$busybox" poweroff -f
