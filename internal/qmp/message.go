package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
)

// maxMessage bounds one message: a QEMU that its guest has taken over must not exhaust our memory. The
// largest honest ones are answers to ringbuf-read, base64 of at most 1 MiB.
const maxMessage = 4 << 20

// message is anything that QEMU sends: a greeting, an answer or an event.
type message struct {
	Greeting *json.RawMessage `json:"QMP"`
	Return   json.RawMessage  `json:"return"`
	Error    *Error           `json:"error"`
	ID       uint64           `json:"id"`

	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// decode gives the outcome of command.
func (m message) decode(command string, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("qmp %s: answer: %w", command, err)
	}
	return nil
}

// readMessage reads one line. After an error the stream is of no more use.
func readMessage(r *bufio.Reader) (message, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxMessage {
			return message{}, fmt.Errorf("message of more than %d bytes", maxMessage)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return message{}, err
		}
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("message: %w", err)
	}
	return m, nil
}
