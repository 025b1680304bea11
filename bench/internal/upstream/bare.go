package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// maxBare limits the size in a path.
const maxBare = 16 << 20

// serveBare answers each request with the number of bytes in its path's last
// segment. It implements just enough HTTP for a proxy that keeps connections
// open, so that the CPU outside the measured proxy goes to the load generator.
func serveBare(listener net.Listener) error {
	var answers bareAnswers
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		go func() {
			// A proxy that closes the connection, or sends malformed requests,
			// has no more requests.
			_ = answers.serve(conn)
			_ = conn.Close()
		}()
	}
}

// bareAnswers has the answers by their size. All connections share them, because
// one may have 16 MiB.
type bareAnswers struct{ bySize sync.Map }

func (a *bareAnswers) serve(conn net.Conn) error {
	requests := bufio.NewReaderSize(conn, 4<<10)
	for {
		size, err := readBare(requests)
		if err != nil {
			return err
		}
		if _, err := conn.Write(a.answer(size)); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

func (a *bareAnswers) answer(size int) []byte {
	answer, found := a.bySize.Load(size)
	if !found {
		answer, _ = a.bySize.LoadOrStore(size, bareAnswer(size))
	}
	return answer.([]byte)
}

func bareAnswer(size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", size)
	b.Write(make([]byte, size))
	return b.Bytes()
}

// readBare reads the head of a GET request and returns the requested size.
func readBare(requests *bufio.Reader) (int, error) {
	line, err := requests.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("reading request line: %w", err)
	}
	words := bytes.Fields(line)
	if len(words) != 3 {
		return 0, fmt.Errorf("request line %q", line)
	}
	segment := words[1][bytes.LastIndexByte(words[1], '/')+1:]
	size, err := strconv.Atoi(string(segment))
	if err != nil || size < 0 || size > maxBare {
		return 0, fmt.Errorf("size %q", segment)
	}
	for {
		line, err := requests.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("reading head: %w", err)
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return size, nil
		}
	}
}
