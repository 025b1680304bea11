package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// policy is a usual one.
const policy = `{"methodConfig": [{"name": [{}], "retryPolicy": {
	"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
}}]}`

// chunk is the largest message that is sent.
const chunk = 64 << 10

// runFor is how long the backend works on a request of the crowd.
const runFor = 200 * time.Millisecond

// raw passes messages on as they are.
type raw struct{}

func (raw) Name() string                       { return "raw" }
func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(text []byte, v any) error { *v.(*[]byte) = append([]byte{}, text...); return nil }

var _ encoding.Codec = raw{}

// overGRPC sends one message, or a stream of them if they are large.
func overGRPC(c call) (seen, error) {
	where, err := url.Parse(c.URL)
	if err != nil {
		return seen{}, err
	}
	conn, err := grpc.NewClient(where.Host, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(policy), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		return seen{}, err
	}
	defer conn.Close()
	ctx := metadata.NewOutgoingContext(context.Background(), metadata.New(c.Fields))
	var head, tail metadata.MD
	err = stream(ctx, conn, where.Path, c.Bytes, grpc.Header(&head), grpc.Trailer(&tail))
	fields := lower(head)
	maps.Copy(fields, lower(tail))
	return seen{Status: int(status.Code(err)), Fields: fields, Body: status.Convert(err).Message()}, nil
}

// stream returns the status of a call.
func stream(ctx context.Context, conn *grpc.ClientConn, method string, bytes int, options ...grpc.CallOption) error {
	var answer []byte
	if bytes <= chunk {
		message := make([]byte, bytes)
		return conn.Invoke(ctx, method, &message, &answer, options...)
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, method, options...)
	if err != nil {
		return err
	}
	for message := make([]byte, chunk); bytes > 0; bytes -= chunk {
		if err := s.SendMsg(&message); errors.Is(err, io.EOF) {
			break // the answer has the reason
		} else if err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&answer)
}

// serve answers every method. Calls below /timeout and /cancelled do not end by themselves.
func serve(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(answer)).Serve(ln)
}

func answer(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	switch {
	case strings.HasPrefix(method, "/timeout"), strings.HasPrefix(method, "/cancelled"):
		<-s.Context().Done()
		return status.FromContextError(s.Context().Err()).Err()
	case strings.HasPrefix(method, "/crowd"):
		time.Sleep(runFor)
	}
	for {
		var message []byte
		if err := s.RecvMsg(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return status.Error(codes.Unknown, fmt.Sprint("reading: ", err))
		}
	}
	return s.SendMsg(&[]byte{})
}

// lower returns one value for each header field, by its name in lower case.
func lower[M ~map[string][]string](fields M) map[string]string {
	one := make(map[string]string, len(fields))
	for name, values := range fields {
		one[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return one
}
