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

// visitor returns the client that comes, in c, and nil if that does not matter or is not
// known.
func (p *Pool) visitor(place *Place, c *Client) *Client {
	if place == nil || p.gate.turned.Load() == 0 {
		return nil // no turns are kept
	}
	return clientAt(place, c)
}

func clientAt(place *Place, c *Client) *Client {
	if place == nil {
		return nil
	}
	v, ok := place.Owner.(Visitor)
	if !ok {
		return nil
	}
	*c = v.Client()
	if *c == (Client{}) {
		return nil
	}
	return c
}
