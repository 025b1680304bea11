package celery

import (
	"encoding/json"
	"fmt"
)

// Command is a remote control command to workers.
type Command struct {
	Method    string
	Arguments map[string]any
	// Destination names the workers that execute the command. Empty: all.
	Destination []string
	// Ticket identifies the replies, which go to ReplyTo. The broker sets both.
	Ticket  string
	ReplyTo *ReplyAddress
}

// ReplyAddress is the destination of replies to a command.
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

// RevokeTasks returns the command that revokes tasks. Workers do not start them after that.
// With terminate they also end the processes that run them; workers with threads ignore that.
func RevokeTasks(ids []string, terminate bool) Command {
	return Command{Method: "revoke", Arguments: map[string]any{
		"task_id":   ids,
		"terminate": terminate,
		"signal":    "SIGTERM",
	}}
}

// Encode returns the message of the command for the named exchange.
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
		return nil, fmt.Errorf("encoding the message of the command '%s': %w", c.Method, err)
	}
	return &Message{
		Exchange:        exchange,
		Body:            body,
		ContentType:     contentJSON,
		ContentEncoding: encodingUTF,
		Headers:         map[string]any{},
	}, nil
}

// decodeReply decodes a reply to a command. The reply has one key, the name of the worker,
// and in rare cases more.
func decodeReply(body []byte) (map[string]json.RawMessage, error) {
	var reply map[string]json.RawMessage
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("reading a worker's reply: %w", err)
	}
	return reply, nil
}
