package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// answerOf decides by the head of the response alone.
func answerOf(response *http.Response) jobs.Delivery {
	status := response.StatusCode
	if status >= 200 && status < 300 {
		return jobs.Delivery{Delivered: true}
	}
	a := jobs.Delivery{Error: fmt.Sprintf("status_%d", status)}
	switch status {
	case http.StatusGone:
		a.Gone = true
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		a.RetryAfter = outcome.RetryAfter(response.Header, time.Now())
	}
	return a
}

// failure returns the value for an error of the transport. It never holds what the endpoint has
// sent: the owner of the job may see it, and the endpoint may be a server that only this one
// can reach.
func failure(ctx context.Context, err error) string {
	if errors.Is(err, errAddress) {
		return "address"
	}
	if ctx.Err() != nil {
		return "timeout"
	}
	if _, is := errors.AsType[*net.DNSError](err); is {
		return "lookup"
	}
	if isTLS(err) {
		return "tls"
	}
	if op, is := errors.AsType[*net.OpError](err); is && op.Op == "dial" {
		return "connect"
	}
	return "answer"
}

func isTLS(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return certificate || record || alert || errors.Is(err, http.ErrSchemeMismatch)
}
