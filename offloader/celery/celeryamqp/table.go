package celeryamqp

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// publishing returns the AMQP form of a message.
func publishing(m *celery.Message) amqp.Publishing {
	p := amqp.Publishing{
		Headers:         table(m.Headers),
		ContentType:     m.ContentType,
		ContentEncoding: m.ContentEncoding,
		DeliveryMode:    amqp.Transient,
		CorrelationId:   m.CorrelationID,
		ReplyTo:         m.ReplyTo,
		Expiration:      m.ExpirationText(),
		Body:            m.Body,
	}
	if m.Persistent {
		p.DeliveryMode = amqp.Persistent
	}
	if m.Priority != nil {
		p.Priority = uint8(*m.Priority) // 0 to 9, higher is more urgent
	}
	return p
}

// table returns the AMQP table of JSON values. Its integers have 64 bits.
func table(values map[string]any) amqp.Table {
	t := make(amqp.Table, len(values))
	for name, value := range values {
		t[name] = field(value)
	}
	return t
}

func field(value any) any {
	switch v := value.(type) {
	case int:
		return int64(v)
	case []any:
		fields := make([]any, len(v))
		for i := range v {
			fields[i] = field(v[i])
		}
		return fields
	case map[string]any:
		return table(v)
	}
	return value
}
