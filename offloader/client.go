package offloader

// Client identifies the origin of a call, so that the pool recognizes it when it comes
// back. The zero value is unknown.
type Client struct {
	// Address of the client, or what stands for it, such as the first half of an
	// IPv6 address.
	Address [16]byte
	// Connection separates the connections of one address.
	Connection uint16
}

// Caller is the user of a [Ticket]. The pool keeps a turn for its client after a
// rejection, unless that is the zero Client. Client is called only while the pool keeps
// turns.
type Caller interface{ Client() Client }

func (c *Client) unknown() bool { return *c == Client{} }

// clientOf returns the client of a ticket, which may be nil.
func clientOf(t *Ticket) Client {
	if t == nil || t.Caller == nil {
		return Client{}
	}
	return t.Caller.Client()
}

// newcomer is a caller that enters a gate.
type newcomer struct {
	ticket *Ticket // nil without one

	// Set only while turns are kept.
	client Client
	came   moment
}

// recognize fills in the newcomer's client while turns are kept.
func (p *Pool) recognize(n *newcomer) {
	if p.gate.turned.Load() != 0 {
		n.client, n.came = clientOf(n.ticket), p.now()
	}
}
