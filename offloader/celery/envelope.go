package celery

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// envelope is a message as one JSON object, for brokers whose queues hold only text, such
// as Redis. Its properties are those of AMQP.
type envelope struct {
	Body            string         `json:"body"`
	ContentEncoding string         `json:"content-encoding"`
	ContentType     string         `json:"content-type"`
	Headers         map[string]any `json:"headers"`
	Properties      properties     `json:"properties"`
}

type properties struct {
	CorrelationID string       `json:"correlation_id,omitempty"`
	ReplyTo       string       `json:"reply_to,omitempty"`
	DeliveryMode  int          `json:"delivery_mode"`
	Expiration    string       `json:"expiration,omitempty"`
	DeliveryInfo  deliveryInfo `json:"delivery_info"`
	Priority      int          `json:"priority"`
	BodyEncoding  string       `json:"body_encoding,omitempty"`
	DeliveryTag   string       `json:"delivery_tag"`
}

type deliveryInfo struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

const base64Encoding = "base64"

// Envelope encodes the message as one JSON object, with a new delivery tag. priority is the
// encoded value, since some brokers count priorities in the other direction.
func (m *Message) Envelope(priority int) ([]byte, error) {
	e := envelope{
		Body:            base64.StdEncoding.EncodeToString(m.Body),
		ContentEncoding: m.ContentEncoding,
		ContentType:     m.ContentType,
		Headers:         m.Headers,
		Properties: properties{
			CorrelationID: m.CorrelationID,
			ReplyTo:       m.ReplyTo,
			DeliveryMode:  m.deliveryMode(),
			Expiration:    m.ExpirationText(),
			DeliveryInfo:  deliveryInfo{m.Exchange, m.RoutingKey},
			Priority:      priority,
			BodyEncoding:  base64Encoding,
			DeliveryTag:   NewID(),
		},
	}
	if e.Headers == nil {
		e.Headers = map[string]any{}
	}
	return marshal(e)
}

// ExpirationText returns the expiration on the wire, in milliseconds, or "" for none. Values
// above 32 bits count as none, as RabbitMQ would close the channel.
func (m *Message) ExpirationText() string {
	ms := m.Expiration.Milliseconds()
	if m.Expiration <= 0 || ms > math.MaxUint32 {
		return ""
	}
	return strconv.FormatInt(max(ms, 1), 10)
}

func (m *Message) deliveryMode() int {
	if m.Persistent {
		return 2
	}
	return 1
}

// OpenEnvelope decodes a message from one JSON object. Its Priority is the encoded value,
// see [Message.Envelope].
func OpenEnvelope(data []byte) (*Message, error) {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("reading an envelope: %w", err)
	}
	m := &Message{
		Exchange:        e.Properties.DeliveryInfo.Exchange,
		RoutingKey:      e.Properties.DeliveryInfo.RoutingKey,
		CorrelationID:   e.Properties.CorrelationID,
		ReplyTo:         e.Properties.ReplyTo,
		Priority:        new(e.Properties.Priority),
		Persistent:      e.Properties.DeliveryMode == 2,
		Headers:         e.Headers,
		Body:            []byte(e.Body),
		ContentType:     e.ContentType,
		ContentEncoding: e.ContentEncoding,
	}
	if ms, err := strconv.ParseInt(e.Properties.Expiration, 10, 32); err == nil {
		m.Expiration = time.Duration(ms) * time.Millisecond
	}
	if e.Properties.BodyEncoding == base64Encoding {
		var err error
		if m.Body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fmt.Errorf("reading the body of an envelope: %w", err)
		}
	}
	return m, m.decompress()
}

// maxInflated is the largest decompressed body, in bytes.
const maxInflated = 64 << 20

// decompress decompresses the body. Celery's media type says gzip, but the format is zlib.
func (m *Message) decompress() error {
	kind, _ := m.Headers["compression"].(string)
	if kind == "" {
		return nil
	}
	if kind != "application/x-gzip" {
		return fmt.Errorf("%w: compression '%s'", ErrUnsupported, kind)
	}
	r, err := zlib.NewReader(bytes.NewReader(m.Body))
	if err != nil {
		return fmt.Errorf("decompressing a body: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err == nil && len(body) > maxInflated {
		err = errors.New("too large")
	}
	if err != nil {
		return fmt.Errorf("decompressing a body: %w", err)
	}
	m.Body = body
	return nil
}
