package caddymodule

import (
	"math"
	"strconv"
	"time"
)

// grpcUnits are those of the field grpc-timeout.
var grpcUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// maxGRPCDigits is what the protocol allows.
const maxGRPCDigits = 8

// grpcTimeout reads the value of a field grpc-timeout. A limit of centuries is
// none.
func grpcTimeout(text string) (limit time.Duration, ok bool) {
	if len(text) < 2 || len(text) > maxGRPCDigits+1 {
		return 0, false
	}
	last := len(text) - 1
	unit, ok := grpcUnits[text[last]]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:last], 10, 32)
	if err != nil || n > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
