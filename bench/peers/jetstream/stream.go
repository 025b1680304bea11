package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stream is JetStream in this process: a work queue with the jobs, and a stream with what
// happens to them. A job is published, marked as running, its result published, and its
// message acknowledged: four steps that are stored, which is the least that keeps a job and
// its attempts over a crash.
type stream struct {
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	consumed jetstream.ConsumeContext
	work     sync.WaitGroup
	next     atomic.Int64
	ended    sync.Map // a channel for each job that a client waits for
	body     []byte
}

const (
	startTime = 10 * time.Second
	ackWait   = time.Minute
)

func openStream(ctx context.Context, folder string) (*stream, error) {
	s := &stream{body: make([]byte, size)}
	var err error
	s.server, err = server.NewServer(&server.Options{JetStream: true, StoreDir: folder, SyncAlways: true, DontListen: true, NoSigs: true})
	if err != nil {
		return nil, fmt.Errorf("making the server: %w", err)
	}
	s.server.Start()
	if !s.server.ReadyForConnections(startTime) {
		return nil, errors.New("the server is not ready")
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server)); err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return nil, fmt.Errorf("using JetStream: %w", err)
	}
	return s, s.prepare(ctx)
}

func (s *stream) prepare(ctx context.Context) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: "JOBS", Subjects: []string{"job.*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage},
		{Name: "EVENTS", Subjects: []string{"running.*", "result.*"}, Storage: jetstream.FileStorage},
	} {
		if _, err := s.js.CreateStream(ctx, c); err != nil {
			return fmt.Errorf("making stream %s: %w", c.Name, err)
		}
	}
	consumer, err := s.js.CreateConsumer(ctx, "JOBS", jetstream.ConsumerConfig{
		Durable: "executors", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: executors,
	})
	if err != nil {
		return fmt.Errorf("making the consumer: %w", err)
	}
	s.consumed, err = consumer.Consume(func(m jetstream.Msg) {
		s.work.Go(func() { s.execute(m) })
	}, jetstream.PullMaxMessages(executors))
	if err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	return nil
}

// execute runs a job. The end that a client waits for is that of the acknowledgement.
func (s *stream) execute(m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), ackWait)
	defer cancel()
	id := strings.TrimPrefix(m.Subject(), "job.")
	_, err := s.js.Publish(ctx, "running."+id, []byte("1"))
	if err == nil {
		_, err = s.js.Publish(ctx, "result."+id, s.body)
	}
	if err == nil {
		err = m.DoubleAck(ctx)
	}
	if ended, ok := s.ended.Load(id); ok {
		ended.(chan error) <- err
	}
}

// Cycle publishes a job and waits for its end.
func (s *stream) Cycle(ctx context.Context) error {
	id := strconv.FormatInt(s.next.Add(1), 10)
	ended := make(chan error, 1)
	s.ended.Store(id, ended)
	defer s.ended.Delete(id)
	if _, err := s.js.Publish(ctx, "job."+id, s.body); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for a job: %w", ctx.Err())
	}
}

// Close ends the server.
func (s *stream) Close() error {
	s.consumed.Stop()
	s.work.Wait()
	s.conn.Close()
	s.server.Shutdown()
	return nil
}
