package offloader

// Client says where a caller comes from, so that it is known when it comes back. The
// zero value is unknown.
type Client struct {
	// Address of the client, or what stands for it, such as the first half of an
	// IPv6 address.
	Address [16]byte
	// Connection tells the connections of one address from each other.
	Connection uint16
}

// Visitor is implemented by a Place's Owner whose pool shall keep a turn for a client
// that it has refused.
type Visitor interface{ Client() Client }

func (c *Client) unknown() bool { return *c == Client{} }

// clientAt returns the client of a place, which may be nil.
func clientAt(place *Place) Client {
	if place == nil {
		return Client{}
	}
	v, ok := place.Owner.(Visitor)
	if !ok {
		return Client{}
	}
	return v.Client()
}

// newcomer is a caller that comes to a gate.
type newcomer struct {
	place *Place // nil without one

	// Needed only while turns are kept, zero else.
	client Client
	came   moment
}

// recognize looks for the newcomer's client if that matters.
func (p *Pool) recognize(n *newcomer) {
	if p.gate.turned.Load() != 0 {
		n.client, n.came = clientAt(n.place), p.now()
	}
}
