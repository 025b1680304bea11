package amqptest

import (
	"encoding/binary"
	"strings"
)

// handle processes a frame and returns the frames to send. The caller holds the mutex.
func (s *Server) handle(c *conn, f frame) []frame {
	ch := c.channels[f.channel]
	switch {
	case f.kind == frameHeader && ch != nil && ch.incoming != nil:
		ch.incoming.header = f.payload
		ch.incoming.size = binary.BigEndian.Uint64(f.payload[4:])
		return s.arrived(ch)
	case f.kind == frameBody && ch != nil && ch.incoming != nil:
		ch.incoming.body = append(ch.incoming.body, f.payload...)
		return s.arrived(ch)
	case f.kind == frameHeartbeat:
		return []frame{f} // a heartbeat of the server
	case f.kind != frameMethod || len(f.payload) < 4:
		return nil
	}
	id, args := binary.BigEndian.Uint32(f.payload), &reader{f.payload[4:]}
	answer := func(id uint32, args ...any) []frame {
		return []frame{{frameMethod, f.channel, method(id, args...)}}
	}
	switch id {
	case connectionStartOK:
		return answer(connectionTune, uint16(100), uint32(131072), uint16(0))
	case connectionOpen:
		return answer(connectionOpenOK, "")
	case connectionClose:
		return answer(connectionCloseOK)
	case channelOpen:
		c.channels[f.channel] = &channel{conn: c, number: f.channel, unacked: make(map[uint64]unacked)}
		return answer(channelOpenOK, []byte(nil))
	case channelClose:
		if ch != nil {
			s.closeChannel(ch)
		}
		return answer(channelCloseOK)
	}
	if ch == nil {
		return nil
	}
	return s.handleChannel(ch, id, args, answer)
}

func (s *Server) handleChannel(ch *channel, id uint32, args *reader, answer func(uint32, ...any) []frame) []frame {
	switch id {
	case basicQos:
		return answer(basicQosOK)
	case basicAck:
		ch.acknowledge(args.huge(), args.byte()&1 != 0)
		return nil
	case confirmSelect:
		ch.confirming = true
		return answer(confirmSelectOK)
	}
	args.short() // reserved
	switch id {
	case exchangeDeclare:
		return answer(exchangeDeclareOK)
	case queueDeclare:
		return s.declare(ch, args, answer)
	case queueBind:
		name, exchange, key := args.string(), args.string(), args.string()
		s.bindings[exchange] = append(s.bindings[exchange], binding{key, name})
		return answer(queueBindOK)
	case queueDelete:
		delete(s.queues, args.string())
		return answer(queueDeleteOK, uint32(0))
	case basicConsume:
		return s.consume(ch, args, answer)
	case basicPublish:
		p := &publishing{message: message{exchange: args.string(), key: args.string()}}
		p.mandatory = args.byte()&1 != 0
		ch.incoming = p
	case basicGet:
		return s.get(ch, args, answer)
	}
	return nil
}

func (s *Server) declare(ch *channel, args *reader, answer func(uint32, ...any) []frame) []frame {
	name, bits := args.string(), args.byte()
	q := s.queues[name]
	if q == nil {
		if passive := bits&1 != 0; passive {
			s.closeChannel(ch)
			return answer(channelClose, uint16(404), "NOT_FOUND - no queue '"+name+"'", uint16(50), uint16(10))
		}
		q = &queue{fleeting: bits&8 != 0}
		s.queues[name] = q
	}
	return answer(queueDeclareOK, name, uint32(len(q.messages)), uint32(len(q.consumers)))
}

func (s *Server) consume(ch *channel, args *reader, answer func(uint32, ...any) []frame) []frame {
	name, tag, bits := args.string(), args.string(), args.byte()
	q := s.queues[name]
	if q == nil {
		s.closeChannel(ch)
		return answer(channelClose, uint16(404), "NOT_FOUND - no queue '"+name+"'", uint16(60), uint16(20))
	}
	q.consumers = append(q.consumers, &consumer{channel: ch, tag: tag, noAck: bits&2 != 0})
	answers := answer(basicConsumeOK, tag)
	ch.conn.write(answers...) // before the first message
	s.deliver()
	return nil
}

func (s *Server) get(ch *channel, args *reader, answer func(uint32, ...any) []frame) []frame {
	name := args.string()
	q := s.queues[name]
	if q == nil {
		s.closeChannel(ch)
		return answer(channelClose, uint16(404), "NOT_FOUND - no queue '"+name+"'", uint16(60), uint16(70))
	}
	if len(q.messages) == 0 {
		return answer(basicGetEmpty, "")
	}
	m := q.messages[0]
	q.messages = q.messages[1:]
	ch.delivered++
	head := method(basicGetOK, ch.delivered, byte(0), m.exchange, m.key, uint32(len(q.messages)))
	return ch.frames(head, m)
}

// frames returns the frames of a message after its method.
func (ch *channel) frames(head []byte, m *message) []frame {
	all := []frame{{frameMethod, ch.number, head}, {frameHeader, ch.number, m.header}}
	for rest := m.body; len(rest) > 0; {
		n := min(len(rest), maxBody)
		all = append(all, frame{frameBody, ch.number, rest[:n]})
		rest = rest[n:]
	}
	return all
}

// maxBody is the size of a body frame, below the negotiated limit.
const maxBody = 100_000

// arrived accepts a message once it is complete.
func (s *Server) arrived(ch *channel) []frame {
	p := ch.incoming
	if uint64(len(p.body)) < p.size {
		return nil
	}
	ch.incoming = nil
	var answers []frame
	if !s.route(&p.message) && p.mandatory {
		answers = ch.frames(method(basicReturn, uint16(312), "NO_ROUTE", p.exchange, p.key), &p.message)
	}
	if ch.confirming {
		ch.published++
		switch {
		case s.silent:
		case s.refusing:
			answers = append(answers, frame{frameMethod, ch.number, method(basicNack, ch.published, byte(0))})
		default:
			answers = append(answers, frame{frameMethod, ch.number, method(basicAck, ch.published, byte(0))})
		}
	}
	s.deliver()
	return answers
}

// route appends a message to its queues. It returns false if there are none.
func (s *Server) route(m *message) bool {
	if s.refusing {
		return true
	}
	if m.exchange == "" {
		q := s.queues[m.key]
		if q != nil {
			q.messages = append(q.messages, m)
		}
		return q != nil
	}
	found := false
	for _, b := range s.bindings[m.exchange] {
		q := s.queues[b.queue]
		if q != nil && matches(b.key, m.key) {
			q.messages = append(q.messages, m)
			found = true
		}
	}
	return found
}

// matches implements the patterns that Celery uses: a key, or a prefix followed by "#".
func matches(pattern, key string) bool {
	prefix, all := strings.CutSuffix(pattern, "#")
	return pattern == key || all && strings.HasPrefix(key, prefix)
}

// deliver delivers messages to consumers, round robin.
func (s *Server) deliver() {
	for name, q := range s.queues {
		for len(q.messages) > 0 && len(q.consumers) > 0 {
			m := q.messages[0]
			q.messages = q.messages[1:]
			q.next++
			c := q.consumers[q.next%len(q.consumers)]
			c.channel.delivered++
			if !c.noAck {
				c.channel.unacked[c.channel.delivered] = unacked{name, m}
			}
			head := method(basicDeliver, c.tag, c.channel.delivered, byte(0), m.exchange, m.key)
			c.channel.conn.write(c.channel.frames(head, m)...)
		}
	}
}

func (ch *channel) acknowledge(tag uint64, multiple bool) {
	for t := range ch.unacked {
		if t == tag || multiple && t < tag {
			delete(ch.unacked, t)
		}
	}
}
