package amqptest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Types of frames.
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xce
)

// Methods, by class and number.
const (
	connectionStart     = 10<<16 | 10
	connectionStartOK   = 10<<16 | 11
	connectionTune      = 10<<16 | 30
	connectionTuneOK    = 10<<16 | 31
	connectionOpen      = 10<<16 | 40
	connectionOpenOK    = 10<<16 | 41
	connectionClose     = 10<<16 | 50
	connectionCloseOK   = 10<<16 | 51
	connectionBlocked   = 10<<16 | 60
	connectionUnblocked = 10<<16 | 61
	channelOpen         = 20<<16 | 10
	channelOpenOK       = 20<<16 | 11
	channelClose        = 20<<16 | 40
	channelCloseOK      = 20<<16 | 41
	exchangeDeclare     = 40<<16 | 10
	exchangeDeclareOK   = 40<<16 | 11
	queueDeclare        = 50<<16 | 10
	queueDeclareOK      = 50<<16 | 11
	queueBind           = 50<<16 | 20
	queueBindOK         = 50<<16 | 21
	queueDelete         = 50<<16 | 40
	queueDeleteOK       = 50<<16 | 41
	basicQos            = 60<<16 | 10
	basicQosOK          = 60<<16 | 11
	basicConsume        = 60<<16 | 20
	basicConsumeOK      = 60<<16 | 21
	basicPublish        = 60<<16 | 40
	basicReturn         = 60<<16 | 50
	basicDeliver        = 60<<16 | 60
	basicGet            = 60<<16 | 70
	basicGetOK          = 60<<16 | 71
	basicGetEmpty       = 60<<16 | 72
	basicAck            = 60<<16 | 80
	basicNack           = 60<<16 | 120
	confirmSelect       = 85<<16 | 10
	confirmSelectOK     = 85<<16 | 11
)

// frame is a frame without its end octet.
type frame struct {
	kind    byte
	channel uint16
	payload []byte
}

var errFrame = errors.New("not a frame")

func readFrame(r *bufio.Reader) (frame, error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	payload := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, err := io.ReadFull(r, payload); err != nil {
		return frame{}, err
	}
	if payload[len(payload)-1] != frameEnd {
		return frame{}, errFrame
	}
	return frame{head[0], binary.BigEndian.Uint16(head[1:]), payload[:len(payload)-1]}, nil
}

func (f frame) bytes() []byte {
	b := []byte{f.kind}
	b = binary.BigEndian.AppendUint16(b, f.channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
	b = append(b, f.payload...)
	return append(b, frameEnd)
}

// reader decodes the arguments of a method. Missing arguments read as zero values.
type reader struct{ rest []byte }

func (r *reader) take(n int) []byte {
	n = min(n, len(r.rest))
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return append(taken[:n:n], make([]byte, 8)...)
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) short() uint16  { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) huge() uint64   { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) string() string { n := int(r.byte()); return string(r.take(n)[:n]) }

// method encodes a method with its arguments: numbers by their size, strings as short strings,
// and bytes as long strings.
func method(id uint32, args ...any) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	for _, arg := range args {
		switch v := arg.(type) {
		case byte:
			b = append(b, v)
		case uint16:
			b = binary.BigEndian.AppendUint16(b, v)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case string:
			b = append(append(b, byte(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
	}
	return b
}
