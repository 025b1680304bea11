package celerytest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy between clients and a server that injects faults of a network: cut
// connections, rejected connections, and stalls.
type Proxy struct {
	listener net.Listener
	server   string
	done     sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	conns    map[net.Conn]bool // client and server side of all connections
	clients  int
	accepted int
	refusing bool
	stalled  bool
	held     int // reads whose data waits for the end of a stall
	closed   bool
}

// NewProxy starts a proxy in front of the server at addr. It ends with the test.
func NewProxy(t *testing.T, addr string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, server: addr, conns: make(map[net.Conn]bool)}
	p.changed = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr returns the address for clients.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Refuse closes all connections, and new ones at once, like a server that is down. False ends
// that.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	p.refusing = refuse
	p.mu.Unlock()
	if refuse {
		p.Cut()
	}
}

// Stall holds all data back, like a network that drops packets. False ends that.
func (p *Proxy) Stall(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stall
	p.changed.Broadcast()
}

// Stalled returns the number of reads whose data a stall holds back.
func (p *Proxy) Stalled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Connections returns the number of connected clients.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients
}

// Accepted returns the number of connections since the start.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.server, time.Second)
		if err != nil || !p.join(client, server) {
			client.Close()
			if server != nil {
				server.Close()
			}
			continue
		}
		p.done.Go(func() { p.serve(client, server) })
	}
}

func (p *Proxy) join(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing || p.closed {
		return false
	}
	p.conns[client], p.conns[server] = true, true
	p.clients++
	p.accepted++
	return true
}

func (p *Proxy) serve(client, server net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { p.copy(client, server) })
	both.Go(func() { p.copy(server, client) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.clients--
}

// copy copies data in one direction. At its end it closes both sides.
func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.waitForNetwork()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) waitForNetwork() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed {
		p.held++
		p.changed.Wait()
		p.held--
	}
}
