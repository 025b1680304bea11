package redistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// run executes a command and writes its answer.
func (s *Server) run(c *conn, args []string) {
	name, rest := strings.ToUpper(args[0]), args[1:]
	switch name {
	case "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE":
		s.subscribe(c, strings.ToLower(name), rest)
	case "BRPOP", "BRPOPLPUSH":
		s.blockingPop(c, name, rest)
	case "PING":
		c.write(s.pong(c))
	default:
		s.mu.Lock()
		answer := s.answer(name, rest)
		s.mu.Unlock()
		c.write(answer)
	}
}

func (s *Server) pong(c *conn) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(c.channels)+len(c.patterns) > 0 {
		return bulks("pong", "")
	}
	return "+PONG\r\n"
}

// answer executes a command that waits for nothing. The mutex is held.
func (s *Server) answer(name string, args []string) string {
	switch name {
	case "SELECT", "AUTH", "CLIENT":
		return "+OK\r\n"
	case "GET", "STRLEN", "MGET", "SET", "SETEX", "DEL":
		return s.stringCommand(name, args)
	case "LPUSH", "RPOP", "LLEN", "LRANGE":
		return s.listCommand(name, args)
	case "SADD", "SREM", "SMEMBERS":
		return s.setCommand(name, args)
	case "PUBLISH":
		return integer(s.publish(args[0], args[1]))
	}
	return fmt.Sprintf("-ERR unknown command '%s'\r\n", name)
}

func (s *Server) stringCommand(name string, args []string) string {
	switch name {
	case "GET":
		return s.get(args[0])
	case "STRLEN":
		return integer(len(s.strings[args[0]]))
	case "MGET":
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, key := range args {
			b.WriteString(s.get(key))
		}
		return b.String()
	case "SET", "SETEX":
		s.strings[args[0]] = args[len(args)-1]
		delete(s.expiries, args[0])
		if seconds, err := strconv.Atoi(args[1]); err == nil && name == "SETEX" {
			s.expiries[args[0]] = time.Duration(seconds) * time.Second
		}
		return "+OK\r\n"
	}
	for _, key := range args { // DEL
		delete(s.strings, key)
		delete(s.lists, key)
	}
	return integer(len(args))
}

func (s *Server) get(key string) string {
	if value, ok := s.strings[key]; ok {
		return bulk(value)
	}
	return nothing
}

func (s *Server) listCommand(name string, args []string) string {
	key := args[0]
	switch name {
	case "LLEN":
		return integer(len(s.lists[key]))
	case "LRANGE":
		return bulks(s.lists[key]...)
	case "RPOP":
		if _, value, ok := s.pop(args[:1]); ok {
			return bulk(value)
		}
		return nothing
	}
	s.lists[key] = append([]string{args[1]}, s.lists[key]...) // LPUSH
	s.changed.Broadcast()
	return integer(len(s.lists[key]))
}

func (s *Server) setCommand(name string, args []string) string {
	set := s.sets[args[0]]
	switch name {
	case "SADD":
		if set == nil {
			set = make(map[string]bool)
			s.sets[args[0]] = set
		}
		set[args[1]] = true
		return integer(1)
	case "SREM":
		delete(set, args[1])
		if len(set) == 0 {
			delete(s.sets, args[0])
		}
		return integer(1)
	}
	var members []string
	for member := range set {
		members = append(members, member)
	}
	return bulks(members...)
}

func (s *Server) publish(channel, payload string) int {
	receivers := 0
	for c := range s.conns {
		if c.channels[channel] {
			receivers++
			c.write(bulks("message", channel, payload))
		}
		for pattern := range c.patterns {
			if matches(pattern, channel) {
				receivers++
				c.write(bulks("pmessage", pattern, channel, payload))
			}
		}
	}
	return receivers
}

func (s *Server) subscribe(c *conn, kind string, names []string) {
	for _, name := range names {
		s.mu.Lock()
		set := c.channels
		if strings.HasPrefix(kind, "p") {
			set = c.patterns
		}
		if strings.HasSuffix(kind, "unsubscribe") {
			delete(set, name)
		} else {
			set[name] = true
		}
		n := len(c.channels) + len(c.patterns)
		s.mu.Unlock()
		c.write("*3\r\n" + bulk(kind) + bulk(name) + integer(n))
	}
}

// blockingPop takes from the right end of the first list that has something.
func (s *Server) blockingPop(c *conn, name string, args []string) {
	seconds, err := strconv.ParseFloat(args[len(args)-1], 64)
	if err != nil {
		c.write("-ERR timeout is not a float\r\n")
		return
	}
	keys, to := args[:len(args)-1], ""
	if name == "BRPOPLPUSH" {
		keys, to = args[:1], args[1]
	}
	expired := false
	timer := time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		expired = true
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !expired && !c.gone {
		if key, value, ok := s.pop(keys); ok {
			if to == "" {
				c.write(bulks(key, value))
				return
			}
			s.lists[to] = append([]string{value}, s.lists[to]...)
			c.write(bulk(value))
			return
		}
		s.changed.Wait()
	}
	if to == "" {
		c.write("*-1\r\n")
		return
	}
	c.write(nothing)
}

func (s *Server) pop(keys []string) (key, value string, ok bool) {
	for _, key := range keys {
		if list := s.lists[key]; len(list) > 0 {
			value = list[len(list)-1]
			if s.lists[key] = slices.Clip(list[:len(list)-1]); len(list) == 1 {
				delete(s.lists, key)
			}
			return key, value, true
		}
	}
	return "", "", false
}
