package streams

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	rpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// Calls of all four kinds work as they do without offload, in the clear and over
// TLS, with both servers that Go has for them.
func TestStreamsGRPC(t *testing.T) {
	kit.BesidesCaddysRaces(t, checkGRPC)
}

func checkGRPC(t *testing.T) {
	for name, secure := range map[string]bool{"in the clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			callTwins(t, secure, "consecutive_failures 1", func(t *testing.T, s *callee, c rpc.TestServiceClient) {
				t.Run("unary", func(t *testing.T) { checkUnary(t, c) })
				t.Run("output", func(t *testing.T) { checkOutput(t, c) })
				t.Run("input", func(t *testing.T) { checkInput(t, c) })
				t.Run("both", func(t *testing.T) { checkBoth(t, c) })
				t.Run("deadlines", func(t *testing.T) { checkDeadlines(t, s, c) })
				t.Run("cancels", func(t *testing.T) { checkCancels(t, s, c) })
			})
			// Some of them are failures of the backend, which a breaker counts.
			callTwins(t, secure, "consecutive_failures 100", func(t *testing.T, _ *callee, c rpc.TestServiceClient) {
				t.Run("statuses", func(t *testing.T) { checkStatuses(t, c) })
			})
		})
	}
}

// callTwins checks calls without and with offload, whose breaker has that rule.
func callTwins(t *testing.T, secure bool, rule string, check func(t *testing.T, s *callee, c rpc.TestServiceClient)) {
	t.Run(rule, func(t *testing.T) {
		s := newCallee()
		upstream := clearCallee
		if secure {
			upstream = secureCallee
		}
		plain, offloaded := site.ServeTwins(t, nil, "", "offload {\nname calls\nconcurrency 1\nqueue 10\nbreaker {\nfailure_ratio off\n"+rule+"\n}\n}",
			"OFFLOAD\nrespond /state \"{http.offload.in_flight}\"\n"+upstream(t, s))
		for name, c := range map[string]rpc.TestServiceClient{"plain": caller(t, plain, secure), "offload": caller(t, offloaded, secure)} {
			t.Run(name, func(t *testing.T) { check(t, s, c) })
		}
		kit.Idle(t, offloaded)
	})
}

func checkUnary(t *testing.T, c rpc.TestServiceClient) {
	for _, text := range []string{"", "small", strings.Repeat("large", 1<<20)} {
		out, err := c.UnaryCall(kit.Soon(t), &rpc.SimpleRequest{Payload: payloadOf(text)})
		if got := string(out.GetPayload().GetBody()); got != text || err != nil {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
		}
	}
	ctx := metadata.AppendToOutgoingContext(kit.Soon(t), "x-head", "first", "x-trail-bin", "\x00\xff")
	var head, trail metadata.MD
	_, err := c.UnaryCall(ctx, &rpc.SimpleRequest{}, grpc.Header(&head), grpc.Trailer(&trail))
	if err != nil || strings.Join(head.Get("x-head"), "") != "first" || strings.Join(trail.Get("x-trail-bin"), "") != "\x00\xff" {
		t.Errorf("got %v, %v, %v", head, trail, err)
	}
}

func checkStatuses(t *testing.T, c rpc.TestServiceClient) {
	for _, code := range []codes.Code{codes.Aborted, codes.NotFound, codes.Internal, codes.Unavailable, codes.ResourceExhausted} {
		const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
		_, err := c.UnaryCall(kit.Soon(t), &rpc.SimpleRequest{ResponseStatus: &rpc.EchoStatus{Code: int32(code), Message: message}})
		st := status.Convert(err)
		if st.Code() != code || st.Message() != message || len(st.Details()) != 1 {
			t.Errorf("got %v with %v, want %v", err, st.Details(), code)
		}
	}
	if _, err := c.UnimplementedCall(kit.Soon(t), new(rpc.Empty)); codeOf(err) != "unimplemented" {
		t.Error(err)
	}
}

func checkOutput(t *testing.T, c rpc.TestServiceClient) {
	var sizes []*rpc.ResponseParameters
	for _, size := range []int32{31415, 9, 2653, 58979, 4 << 20, 0} {
		sizes = append(sizes, &rpc.ResponseParameters{Size: size})
	}
	stream, err := c.StreamingOutputCall(kit.Soon(t), &rpc.StreamingOutputCallRequest{ResponseParameters: sizes})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range sizes {
		m, err := stream.Recv()
		if got := len(m.GetPayload().GetBody()); got != int(want.Size) || err != nil {
			t.Errorf("got %d bytes, %v, want %d", got, err, want.Size)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func checkInput(t *testing.T, c rpc.TestServiceClient) {
	stream, err := c.StreamingInputCall(kit.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{27182, 8, 1828, 45904, 4 << 20} {
		stream.Send(&rpc.StreamingInputCallRequest{Payload: payloadOf(strings.Repeat("x", size))})
	}
	if out, err := stream.CloseAndRecv(); err != nil || out.GetAggregatedPayloadSize() != 27182+8+1828+45904+4<<20 {
		t.Errorf("got %v, %v", out, err)
	}
}

// Each message waits for the answer to the one before.
func checkBoth(t *testing.T, c rpc.TestServiceClient) {
	stream, err := c.FullDuplexCall(kit.Soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		text := strings.Repeat("ping", i*100)
		if err := stream.Send(&rpc.StreamingOutputCallRequest{Payload: payloadOf(text)}); err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || string(m.GetPayload().GetBody()) != text {
			t.Fatalf("message %d: got %v, %v", i, m, err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

// A deadline ends a call at both ends.
func checkDeadlines(t *testing.T, s *callee, c rpc.TestServiceClient) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.UnaryCall(ctx, &rpc.SimpleRequest{Payload: payloadOf(hang)})
	if code := codeOf(err); code != "deadlineexceeded" && code != "unavailable" {
		t.Error(err) // the server has the deadline as well, and may be first to reset the stream
	}
	s.hasBegun(t)
	s.hasEnded(t)
}

// A client that gives a call up ends it at the server too: one that is answering,
// and one that is sending. (One that it waits for goes on in the pool.)
func checkCancels(t *testing.T, s *callee, c rpc.TestServiceClient) {
	ctx, cancel := context.WithCancel(kit.Soon(t))
	stream, err := c.StreamingOutputCall(ctx, &rpc.StreamingOutputCallRequest{
		ResponseParameters: []*rpc.ResponseParameters{{Size: 10}}, Payload: payloadOf(hang),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	s.hasBegun(t)
	cancel()
	if _, err := stream.Recv(); codeOf(err) != "canceled" {
		t.Error(err)
	}
	if err := s.hasEnded(t); !errors.Is(err, context.Canceled) {
		t.Errorf("the server got %v", err)
	}

	ctx, cancel = context.WithCancel(kit.Soon(t))
	both, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	both.Send(&rpc.StreamingOutputCallRequest{Payload: payloadOf("ping")})
	both.Recv()
	cancel()
	s.hasEnded(t)
	ctx, cancel = context.WithCancel(kit.Soon(t))
	input, err := c.StreamingInputCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	input.Send(&rpc.StreamingInputCallRequest{Payload: payloadOf(hang)})
	s.hasBegun(t)
	cancel()
	s.hasEnded(t)
}

// Calls that offload rejects or ends get the status of gRPC.
func TestStreamsGRPCRefusals(t *testing.T) {
	kit.BesidesCaddysRaces(t, checkGRPCRefusals)
}

func checkGRPCRefusals(t *testing.T) {
	s := newCallee()
	st := site.Serve(t, nil, "offload {\nname refusals\nconcurrency 1\nqueue 0\nfirst_byte_timeout 1s\nrun_timeout 2s\nbreaker off\n}\n"+
		kit.StateRoute+clearCallee(t, s))
	for name, secure := range map[string]bool{"in the clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			c := caller(t, st, secure)
			late := make(chan error, 1)
			go func() {
				_, err := c.UnaryCall(kit.Soon(t), &rpc.SimpleRequest{Payload: payloadOf(hang)})
				late <- err
			}()
			s.hasBegun(t)
			var head metadata.MD
			_, err := c.UnaryCall(kit.Soon(t), new(rpc.SimpleRequest), grpc.Header(&head), grpc.Trailer(&head))
			if codeOf(err) != "unavailable" || status.Convert(err).Message() == "" || len(head.Get("retry-after")) != 1 {
				t.Errorf("with a full queue: %v %v", err, head)
			}
			if both, err := c.FullDuplexCall(kit.Soon(t)); err != nil {
				t.Error(err)
			} else if _, err := both.Recv(); codeOf(err) != "unavailable" {
				t.Errorf("with a full queue: %v", err)
			}
			if err := <-late; codeOf(err) != "deadlineexceeded" {
				t.Errorf("after the first byte timeout: %v", err)
			}
			s.hasEnded(t)
			kit.Idle(t, st)

			stream, err := c.StreamingOutputCall(kit.Soon(t), &rpc.StreamingOutputCallRequest{
				ResponseParameters: []*rpc.ResponseParameters{{Size: 10}}, Payload: payloadOf(hang),
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Error(err)
			}
			s.hasBegun(t)
			if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) || codeOf(err) == "ok" {
				t.Errorf("after the run timeout: %v", err)
			}
			s.hasEnded(t)
			kit.Idle(t, st)
		})
	}
}
