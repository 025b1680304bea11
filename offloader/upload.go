package offloader

// BeginUpload lets a caller in whose request is still on its way, such as one
// whose body is being read. What would be refused now is refused now, as
// [Pool.CheckAt] says. From then on the caller belongs to the pool: it is counted as
// uploading, Drain and Close wait for it, and AcquireAt with the same place admits
// it although the pool has begun to drain meanwhile. It has no place in the queue
// yet, and holds no permit.
//
// The upload ends with AcquireAt, whatever that returns, or with EndUpload.
func (p *Pool) BeginUpload(place *Place) error {
	if p.breakerRefuses() {
		return p.reject(p.breakerReason())
	}
	n := newcomer{place: place}
	p.recognize(&n)
	if r := p.gate.beginUpload(&n); r != 0 {
		return p.reject(r)
	}
	return nil
}

// EndUpload ends an upload of a caller that does not come. It does nothing if
// there is none at that place. Only the caller may call it.
func (p *Pool) EndUpload(place *Place) {
	if place.uploading {
		p.gate.dropUpload(place)
	}
}

func (g *gate) beginUpload(n *newcomer) Reason {
	g.mu.Lock()
	defer g.mu.Unlock()
	pl, r := n.place, g.refusal(n)
	if r == 0 && !pl.uploading {
		pl.uploading = true
		g.uploading++
	}
	return r
}

func (g *gate) dropUpload(pl *Place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endUpload(pl)
	g.wakeIfIdle()
}

// The methods below require g.mu.

// endUpload counts a caller no more as uploading. If it was admitted or has joined
// the queue, that comes first under the same lock: a drain must not end in between.
func (g *gate) endUpload(pl *Place) {
	if pl != nil && pl.uploading {
		pl.uploading = false
		g.uploading--
	}
}

// shutFor is shut for a caller: a drain does not refuse the one that came before.
func (g *gate) shutFor(pl *Place) Reason {
	r := g.shut()
	if r == Draining && pl != nil && (pl.uploading || pl.PassDrain) {
		return 0
	}
	return r
}
