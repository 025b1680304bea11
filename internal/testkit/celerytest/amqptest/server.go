package amqptest

import (
	"bufio"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Server is an AMQP 0-9-1 server in the test's process. It implements the methods that brokers,
// backends and workers of Celery use. Known Go libraries for such tests replace the client, and
// do not speak the protocol.
type Server struct {
	listener net.Listener
	done     sync.WaitGroup

	mu       sync.Mutex
	conns    map[*conn]bool
	queues   map[string]*queue
	bindings map[string][]binding // by exchange
	refusing bool                 // publishing gets a nack
	silent   bool                 // publishing gets no confirmation
}

type queue struct {
	messages  []*message
	consumers []*consumer
	next      int  // index of the next consumer
	fleeting  bool // auto-delete: removed with its last consumer, once it had one
}

type binding struct{ key, queue string }

// message is stored as received.
type message struct {
	exchange, key string
	header        []byte // payload of the header frame
	body          []byte
}

// consumer takes messages from a queue.
type consumer struct {
	channel *channel
	tag     string
	noAck   bool
}

// conn is one connection. The server's mutex guards all fields except those for writing.
type conn struct {
	net.Conn
	server   *Server
	channels map[uint16]*channel
	writing  sync.Mutex
}

type channel struct {
	conn       *conn
	number     uint16
	confirming bool
	published  uint64
	delivered  uint64
	unacked    map[uint64]unacked
	incoming   *publishing
}

type unacked struct {
	queue   string
	message *message
}

// publishing is an incomplete message.
type publishing struct {
	message
	mandatory bool
	size      uint64
}

// NewServer starts a server that ends with the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		listener: listener, conns: make(map[*conn]bool), queues: make(map[string]*queue),
		bindings: make(map[string][]binding),
	}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		listener.Close()
		s.DropConnections()
		s.done.Wait()
	})
	return s
}

// Addr returns the address of the server.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the address as a URL.
func (s *Server) URL() string { return "amqp://guest:guest@" + s.Addr() + "/" }

// DropConnections closes all connections.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// SetRefusing makes the server reject published messages with a nack.
func (s *Server) SetRefusing(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = refuse
}

// SetSilent makes the server accept published messages without a confirmation.
func (s *Server) SetSilent(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// SetBlocked notifies all clients that the server accepts no messages, or accepts them again.
func (s *Server) SetBlocked(reason string) {
	payload := method(connectionUnblocked)
	if reason != "" {
		payload = method(connectionBlocked, reason)
	}
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		c.write(frame{frameMethod, 0, payload})
	}
}

// RemoveQueue removes a queue with its messages.
func (s *Server) RemoveQueue(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, name)
}

// Queues returns the names of the queues.
func (s *Server) Queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.queues))
}

// Unacknowledged returns the number of delivered messages without an acknowledgement.
func (s *Server) Unacknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		for _, ch := range c.channels {
			n += len(ch.unacked)
		}
	}
	return n
}

// Connections returns the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: nc, server: s, channels: make(map[uint16]*channel)}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() { s.serve(c) })
	}
}

func (s *Server) serve(c *conn) {
	defer s.leave(c)
	r := bufio.NewReader(c)
	var greeting [8]byte
	if _, err := io.ReadFull(r, greeting[:]); err != nil {
		return
	}
	c.write(frame{frameMethod, 0, method(connectionStart, byte(0), byte(9), capabilities, []byte("PLAIN"), []byte("en_US"))})
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		answers := s.handle(c, f)
		s.mu.Unlock()
		if !c.write(answers...) {
			return
		}
	}
}

// leave requeues the unacknowledged messages of a connection.
func (s *Server) leave(c *conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	for _, ch := range c.channels {
		s.closeChannel(ch)
	}
	s.deliver()
}

func (s *Server) closeChannel(ch *channel) {
	delete(ch.conn.channels, ch.number)
	for name, q := range s.queues {
		before := len(q.consumers)
		q.consumers = slices.DeleteFunc(q.consumers, func(c *consumer) bool { return c.channel == ch })
		if lastOne := before > 0 && len(q.consumers) == 0; lastOne && q.fleeting {
			delete(s.queues, name)
		}
	}
	for _, tag := range slices.Backward(slices.Sorted(maps.Keys(ch.unacked))) {
		u := ch.unacked[tag]
		if q := s.queues[u.queue]; q != nil {
			q.messages = append([]*message{u.message}, q.messages...)
		}
	}
	ch.unacked = nil
}

// capabilities is the encoded table of the server's capabilities.
var capabilities = []byte("\x0ccapabilitiesF\x00\x00\x00\x15\x12connection.blockedt\x01")

// writeTimeout ends writes to clients that do not read.
const writeTimeout = 5 * time.Second

func (c *conn) write(frames ...frame) bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	var all []byte
	for _, f := range frames {
		all = append(all, f.bytes()...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.Write(all)
	return err == nil
}
