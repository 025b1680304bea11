// Package redistest is what tests of Redis leaves need: a server in the test's
// own process, and the part of a Celery worker to play against it or a real one.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server speaks as much of Redis as brokers, backends and workers of Celery use.
type Server struct {
	listener net.Listener
	done     sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond // something was pushed, or a connection ended
	lists    map[string][]string
	strings  map[string]string
	sets     map[string]map[string]bool
	conns    map[*conn]bool
	denied   map[string]string // command: what is answered instead
	deaf     bool              // takes connections and answers nothing
	waiting  int               // commands that a deaf server has received
	accepted int
	commands map[string]int
	before   map[string]func()        // what happens before a command, once
	expiries map[string]time.Duration // of strings, as they were set
}

// conn is one connection. Its subscriptions are guarded by the server's mutex,
// its writer by its own.
type conn struct {
	net.Conn
	server   *Server
	channels map[string]bool
	patterns map[string]bool
	watched  map[string]string // values of keys as they were
	gone     bool

	writing sync.Mutex
	queue   [][]string // commands of a transaction, nil outside of one
}

// NewServer starts a server that ends with the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		listener: listener,
		lists:    make(map[string][]string),
		strings:  make(map[string]string),
		sets:     make(map[string]map[string]bool),
		conns:    make(map[*conn]bool),
		denied:   make(map[string]string),
		commands: make(map[string]int),
		before:   make(map[string]func()),
		expiries: make(map[string]time.Duration),
	}
	s.changed = sync.NewCond(&s.mu)
	s.done.Go(s.accept)
	t.Cleanup(func() {
		listener.Close()
		s.DropConnections()
		s.done.Wait()
	})
	return s
}

// Addr of the server.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL of the server.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// DropConnections breaks all connections.
func (s *Server) DropConnections() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		s.drop(c)
	}
}

// Deny answers a command with an error from now on. An empty error allows it
// again.
func (s *Server) Deny(command, err string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied[command] = err
}

// SetDeaf lets the server take connections and answer nothing, as one does that
// is cut off by a firewall.
func (s *Server) SetDeaf(deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = deaf
	s.changed.Broadcast()
}

// Flush forgets all data, as a server does that was restarted.
func (s *Server) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.lists)
	clear(s.strings)
	clear(s.sets)
}

// Before lets something happen before a command is executed the next time.
func (s *Server) Before(command string, do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before[command] = do
}

// Expiry returns how long a string is kept, zero for ever.
func (s *Server) Expiry(key string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expiries[key]
}

// Connections returns how many there are now.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Accepted returns how many connections there have been.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Count returns how often a command was called.
func (s *Server) Count(command string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[command]
}

// Keys lists the keys that hold something.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.lists {
		keys = append(keys, key)
	}
	for key := range s.strings {
		keys = append(keys, key)
	}
	for key := range s.sets {
		keys = append(keys, key)
	}
	return keys
}

// Set sets a string without publishing it.
func (s *Server) Set(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strings[key] = value
}

// List returns what is in a list, the newest first.
func (s *Server) List(key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lists[key])
}

// Push puts something into a list.
func (s *Server) Push(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer("LPUSH", []string{key, value})
}

// Waiting returns how many commands a deaf server has received.
func (s *Server) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Channels returns how many channels are listened to.
func (s *Server) Channels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		n += len(c.channels)
	}
	return n
}

// Subscribed reports whether somebody listens to a channel by its name.
func (s *Server) Subscribed(channel string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.channels[channel] {
			return true
		}
	}
	return false
}

func (s *Server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: nc, server: s, channels: make(map[string]bool), patterns: make(map[string]bool)}
		s.mu.Lock()
		s.conns[c] = true
		s.accepted++
		s.mu.Unlock()
		s.done.Go(func() { s.serve(c) })
	}
}

// serve answers the commands of a connection. Another goroutine reads them, so
// that one that waits notices when its client has left.
func (s *Server) serve(c *conn) {
	commands := make(chan []string, 1024)
	s.done.Go(func() {
		defer close(commands)
		r := bufio.NewReader(c)
		for {
			args, err := readCommand(r)
			if err != nil {
				break
			}
			commands <- args
		}
		s.drop(c)
	})
	for args := range commands {
		s.handle(c, args)
	}
}

func (s *Server) drop(c *conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.gone = true
	delete(s.conns, c)
	s.changed.Broadcast()
}

func (s *Server) handle(c *conn, args []string) {
	name := strings.ToUpper(args[0])
	s.mu.Lock()
	for s.deaf && !c.gone {
		s.waiting++
		s.changed.Wait()
		s.waiting--
	}
	if c.gone {
		s.mu.Unlock()
		return
	}
	s.commands[name]++
	denied, before := s.denied[name], s.before[name]
	delete(s.before, name)
	s.mu.Unlock()
	if before != nil {
		before()
	}
	switch {
	case denied != "":
		c.write("-" + denied + "\r\n")
	case name == "MULTI":
		c.queue = [][]string{}
		c.write("+OK\r\n")
	case name == "WATCH", name == "UNWATCH":
		s.watch(c, args[1:])
		c.write("+OK\r\n")
	case name == "EXEC":
		queue := c.queue
		c.queue = nil
		if s.changedMeanwhile(c) {
			c.write("*-1\r\n")
			return
		}
		c.write(fmt.Sprintf("*%d\r\n", len(queue)))
		for _, args := range queue {
			s.run(c, args)
		}
	case c.queue != nil:
		c.queue = append(c.queue, args)
		c.write("+QUEUED\r\n")
	default:
		s.run(c, args)
	}
}

// watch notes the values of keys for the next transaction of a connection.
func (s *Server) watch(c *conn, keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.watched = make(map[string]string)
	for _, key := range keys {
		c.watched[key] = s.strings[key]
	}
}

// changedMeanwhile reports whether one has changed since.
func (s *Server) changedMeanwhile(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range c.watched {
		if s.strings[key] != value {
			return true
		}
	}
	return false
}

func (c *conn) write(text string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = io.WriteString(c.Conn, text) // a client that has left is noticed by reading
}

// writeTimeout is for clients that have stopped reading.
const writeTimeout = 5 * time.Second

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func bulks(texts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(texts))
	for _, text := range texts {
		b.WriteString(bulk(text))
	}
	return b.String()
}

func integer(n int) string { return ":" + strconv.Itoa(n) + "\r\n" }

const nothing = "$-1\r\n"

var errProtocol = errors.New("not a command")

func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r, '$')
		if err != nil {
			return nil, err
		}
		data := make([]byte, size+2)
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, err
		}
		args[i] = string(data[:size])
	}
	if len(args) == 0 {
		return nil, errProtocol
	}
	return args, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line = strings.TrimSpace(line); line == "" || line[0] != kind {
		return 0, errProtocol
	}
	return strconv.Atoi(line[1:])
}

// matches reports whether a channel matches a pattern with stars.
func matches(pattern, channel string) bool {
	// A star of Redis matches a slash as well.
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "|"), strings.ReplaceAll(channel, "/", "|"))
	return ok && err == nil
}
