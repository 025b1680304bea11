package bridge

import (
	"math"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kernelAnswers says that the kernel can be asked for the room of a socket.
const kernelAnswers = true

const (
	// timesCharged is how many bytes of its send buffer the kernel counts for one byte, at
	// most, if packets have a usual size. TLS records that are sent at once need the most.
	timesCharged = 2
	// leastSegment and leastWindow are the least values of a usual client. With tiny
	// packets the kernel would count more of its buffer.
	leastSegment = 500
	leastWindow  = 8 << 10
)

// kernel holds the properties of a socket that do not change.
type kernel struct {
	usual  bool // its client is
	unsent int  // how many unsent bytes block a write
}

// room returns how many bytes a write takes without blocking.
func (k *kernel) room(fd int) int {
	if !k.usual && !k.learn(fd) {
		return 0
	}
	// The filter is the type of package unix for eight numbers, which SO_MEMINFO returns:
	// the size of the send buffer is the fourth one and its use the sixth.
	memory, err := unix.GetsockoptICMPv6Filter(fd, unix.SOL_SOCKET, unix.SO_MEMINFO)
	if err != nil {
		return 0
	}
	room := (int(memory.Data[3]) - int(memory.Data[5])) / timesCharged
	if k.unsent == math.MaxInt {
		return room
	}
	waiting, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	if err != nil {
		return 0
	}
	return min(room, k.unsent-waiting)
}

// writable reports whether a third of the send buffer is free. If not, the kernel reports
// when it is.
func writable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	return n > 0 || err != nil
}

// learn reads the properties of the client and the options of the socket. It returns false
// for an unusual client.
func (k *kernel) learn(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.Snd_mss < leastSegment || info.Snd_wnd < leastWindow {
		return false
	}
	limit, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	if err != nil {
		return false
	}
	k.unsent = unsentLimit(uint32(limit))
	k.usual = true
	return true
}

// unsentLimit returns how many unsent bytes block a write to a socket with that option.
func unsentLimit(option uint32) int {
	if option == 0 {
		option = systemUnsentLimit()
	}
	if option > math.MaxInt32 {
		return math.MaxInt
	}
	return int(option)
}

// systemUnsentLimit is the option of sockets that have none.
var systemUnsentLimit = sync.OnceValue(func() uint32 {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_notsent_lowat")
	if err != nil {
		return 0 // not known: no room
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
})
