package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// maxBare limits the size in a path.
const maxBare = 16 << 20

// serveBare answers each request with the number of bytes in its path's last
// segment. It implements just enough HTTP for a proxy that keeps connections
// open, so that the CPU outside the measured proxy goes to the load generator.
func serveBare(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting: %w", err)
		}
		go func() {
			// A proxy that closes the connection, or sends malformed requests,
			// has no more requests.
			_ = answerBare(conn)
			_ = conn.Close()
		}()
	}
}

func answerBare(conn net.Conn) error {
	requests := bufio.NewReaderSize(conn, 4<<10)
	answers := make(map[int][]byte)
	for {
		size, err := readBare(requests)
		if err != nil {
			return err
		}
		answer, found := answers[size]
		if !found {
			answer = bareAnswer(size)
			answers[size] = answer
		}
		if _, err := conn.Write(answer); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
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
