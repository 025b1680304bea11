package serving

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Status codes of gRPC that count as outcomes or are answered here, as in
// google.golang.org/grpc/codes.
const (
	grpcCanceled          = 1
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcResourceExhausted = 8
	grpcAborted           = 10
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcDataLoss          = 15
)

const grpcStatusField = "Grpc-Status"

// callStatus reads what an answer of gRPC says of its call: in its head if it has no
// body, else in its trailers.
func callStatus(h http.Header) string {
	if status := h.Get(grpcStatusField); status != "" {
		return status
	}
	return h.Get(http.TrailerPrefix + grpcStatusField)
}

// judgeCall returns the outcome of an answer of gRPC. One without a status is cut. Exhausted
// resources and aborted calls are excluded: a quota of the client is used up, or two clients
// conflict.
func judgeCall(status int, h http.Header) offloader.Outcome {
	if !bridge.IsGRPC(h) || status != http.StatusOK {
		return judgeStatus(status)
	}
	code, err := strconv.Atoi(callStatus(h))
	if err != nil {
		return offloader.Failure
	}
	switch code {
	case grpcUnavailable, grpcInternal, grpcUnknown, grpcDataLoss, grpcDeadlineExceeded:
		return offloader.Failure
	case grpcResourceExhausted, grpcAborted:
		return offloader.Excluded
	}
	return offloader.Success
}

// callLimit is the time that the client of a call has set. Only gRPC has one.
func (run *Run) callLimit() (time.Duration, bool) {
	if !run.grpc {
		return 0, false
	}
	return grpcTimeout(run.client.Header.Get("Grpc-Timeout"))
}

// pastDeadline reports whether the time that the client has set is over. Servers of
// gRPC end calls by it themselves, which looks like a failure of theirs: any client
// could open the breaker for all by asking for too little time.
func (run *Run) pastDeadline() bool {
	limit, ok := run.callLimit()
	return ok && time.Since(run.who.Came) >= limit
}

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
