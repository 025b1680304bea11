package celery

import (
	"encoding/json"
	"fmt"
)

// Command is an order or a question to workers.
type Command struct {
	Method    string
	Arguments map[string]any
	// Destination names the workers that it is for. Empty: all.
	Destination []string
	// Ticket comes back with the answers, which go to ReplyTo. Both are the
	// broker's to set.
	Ticket  string
	ReplyTo *ReplyAddress
}

// ReplyAddress is where answers to a command go.
type ReplyAddress struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

type commandBody struct {
	Method      string         `json:"method"`
	Arguments   map[string]any `json:"arguments"`
	Destination []string       `json:"destination"`
	Pattern     *string        `json:"pattern"`
	Matcher     *string        `json:"matcher"`
	Ticket      string         `json:"ticket,omitempty"`
	ReplyTo     *ReplyAddress  `json:"reply_to,omitempty"`
}

// RevokeTasks returns the command that revokes tasks. A worker that has not
// started one of them will not do so. With terminate it also ends the processes
// that run them; workers with threads do not heed that.
func RevokeTasks(ids []string, terminate bool) Command {
	return Command{Method: "revoke", Arguments: map[string]any{
		"task_id":   ids,
		"terminate": terminate,
		"signal":    "SIGTERM",
	}}
}

// Encode makes a message of the command for the named exchange.
func (c Command) Encode(exchange string) (*Message, error) {
	if c.Arguments == nil {
		c.Arguments = map[string]any{}
	}
	body, err := marshal(commandBody{
		Method:      c.Method,
		Arguments:   c.Arguments,
		Destination: c.Destination,
		Ticket:      c.Ticket,
		ReplyTo:     c.ReplyTo,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the command '%s': %w", c.Method, err)
	}
	return &Message{
		Exchange:        exchange,
		Body:            body,
		ContentType:     contentJSON,
		ContentEncoding: encodingUTF,
		Headers:         map[string]any{},
	}, nil
}

// decodeReply reads an answer to a command: what one worker, or by chance more,
// has to say.
func decodeReply(body []byte) (map[string]json.RawMessage, error) {
	var reply map[string]json.RawMessage
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("reading a worker's answer: %w", err)
	}
	return reply, nil
}
