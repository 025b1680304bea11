package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	rpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/caddy-offload/caddy-offload/caddymodule/fidelity/internal/kit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// hang is the payload of calls that the server does not answer.
const hang = "hang"

// callee is a server of gRPC.
type callee struct {
	rpc.UnimplementedTestServiceServer
	begun chan struct{} // a call of hang has begun
	ended chan error    // and this is why it has ended
}

func newCallee() *callee {
	return &callee{begun: make(chan struct{}, 10), ended: make(chan error, 10)}
}

// hasBegun and hasEnded wait for a call of hang.
func (s *callee) hasBegun(t *testing.T) {
	t.Helper()
	select {
	case <-s.begun:
	case <-kit.Soon(t).Done():
		t.Fatal("the call has not begun")
	}
}

func (s *callee) hasEnded(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-kit.Soon(t).Done():
		t.Fatal("the call has not ended")
		return nil
	}
}

func (s *callee) hang(ctx context.Context) error {
	s.begun <- struct{}{}
	<-ctx.Done()
	s.ended <- ctx.Err()
	return status.FromContextError(ctx.Err()).Err()
}

// UnaryCall echoes the payload, the metadata and the status.
func (s *callee) UnaryCall(ctx context.Context, in *rpc.SimpleRequest) (*rpc.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("x-head"); len(v) > 0 {
		grpc.SetHeader(ctx, metadata.Pairs("x-head", v[0]))
	}
	if v := md.Get("x-trail-bin"); len(v) > 0 {
		grpc.SetTrailer(ctx, metadata.Pairs("x-trail-bin", v[0]))
	}
	if want := in.GetResponseStatus(); want.GetCode() != 0 {
		st, err := status.New(codes.Code(want.GetCode()), want.GetMessage()).WithDetails(wrapperspb.String("a detail"))
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	if string(in.GetPayload().GetBody()) == hang {
		return nil, s.hang(ctx)
	}
	return &rpc.SimpleResponse{Payload: in.GetPayload()}, nil
}

// StreamingOutputCall sends messages of the requested sizes.
func (s *callee) StreamingOutputCall(in *rpc.StreamingOutputCallRequest, out grpc.ServerStreamingServer[rpc.StreamingOutputCallResponse]) error {
	for _, p := range in.GetResponseParameters() {
		payload := &rpc.Payload{Body: make([]byte, p.GetSize())}
		if err := out.Send(&rpc.StreamingOutputCallResponse{Payload: payload}); err != nil {
			return err
		}
	}
	if string(in.GetPayload().GetBody()) == hang {
		return s.hang(out.Context())
	}
	return nil
}

// StreamingInputCall answers with the number of bytes that it got.
func (s *callee) StreamingInputCall(in grpc.ClientStreamingServer[rpc.StreamingInputCallRequest, rpc.StreamingInputCallResponse]) error {
	sum := 0
	for {
		m, err := in.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return in.SendAndClose(&rpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		case err != nil:
			s.ended <- err
			return err
		}
		sum += len(m.GetPayload().GetBody())
		if string(m.GetPayload().GetBody()) == hang {
			s.begun <- struct{}{}
		}
	}
}

// FullDuplexCall answers each message with the same.
func (s *callee) FullDuplexCall(stream grpc.BidiStreamingServer[rpc.StreamingOutputCallRequest, rpc.StreamingOutputCallResponse]) error {
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			s.ended <- err
			return err
		}
		if err := stream.Send(&rpc.StreamingOutputCallResponse{Payload: m.GetPayload()}); err != nil {
			return err
		}
	}
}

// clearCallee serves HTTP/2 in the clear with gRPC's own server, and returns how
// reverse_proxy reaches it.
func clearCallee(t *testing.T, s *callee) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	rpc.RegisterTestServiceServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return "reverse_proxy h2c://" + ln.Addr().String()
}

// secureCallee serves it over TLS with the server of net/http.
func secureCallee(t *testing.T, s *callee) string {
	t.Helper()
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	rpc.RegisterTestServiceServer(server, s)
	front := httptest.NewUnstartedServer(server)
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	return "reverse_proxy " + front.URL + " {\ntransport http {\ntls_insecure_skip_verify\nversions 2\n}\n}"
}

// caller is a client of a site, in the clear or over TLS.
func caller(t *testing.T, s *site.Site, secure bool) rpc.TestServiceClient {
	t.Helper()
	addr, creds := s.Clear, insecure.NewCredentials()
	if secure {
		addr, creds = s.Addr, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return rpc.NewTestServiceClient(conn)
}

func payloadOf(text string) *rpc.Payload { return &rpc.Payload{Body: []byte(text)} }

// codeOf is the word of a call's status.
func codeOf(err error) string { return strings.ToLower(status.Code(err).String()) }
