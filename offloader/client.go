package offloader

// Client identifies the origin of a call, so that the pool recognizes a rejected client
// that comes back. The zero value is an unknown client.
type Client struct {
	// Address of the client, or the part of it that identifies the client, such as the
	// first half of an IPv6 address.
	Address [16]byte
	// Connection separates the connections of one address.
	Connection uint16
}

// Caller is the user of a [Ticket]. After a rejection the pool keeps a turn for its Client:
// a time to come back, with priority. The zero Client gets no turn. The pool calls Client
// only to keep a turn, or while it keeps turns.
type Caller interface{ Client() Client }

func (c *Client) unknown() bool { return *c == Client{} }

// clientOf returns the client of a ticket, which may be nil. It is unknown for callers that
// get no turns.
func clientOf(t *Ticket) Client {
	if t == nil || t.Caller == nil || t.apart() {
		return Client{}
	}
	return t.Caller.Client()
}

// newcomer is a caller that enters a gate.
type newcomer struct {
	ticket *Ticket // nil without one
	back   bool    // it had a permit before

	client Client  // set only while turns are kept
	record *record // for its ticket, if it may have to wait
	came   moment  // set only while turns are kept, for gates with shares, and with a claim
}

// recognize sets the newcomer's client while the pool keeps turns, and its time of arrival
// if the gate needs that.
func (p *Pool) recognize(n *newcomer) {
	if p.gate.turned.Load() != 0 || (n.ticket != nil && n.ticket.Claim != nil) {
		p.lookAt(n)
	}
}

func (p *Pool) lookAt(n *newcomer) {
	n.came = p.now()
	if p.gate.turned.Load() > 0 {
		n.client = clientOf(n.ticket)
	}
}
