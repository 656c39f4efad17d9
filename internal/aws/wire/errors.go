package wire

import (
	"encoding/json"
	"net/http"

	"karri.dev/internal/aws/awserr"
)

// EncodeError writes an error as the protocol does, in place of whatever w holds of an answer.
func EncodeError(p Protocol, w *Response, e *awserr.Error) {
	w.Status = e.Status
	if w.Status == 0 {
		w.Status = http.StatusBadRequest
	}
	for _, h := range e.Headers {
		w.header().Set(h.Name, h.Value)
	}
	b := w.Body[:0]
	if w.Stream != nil {
		w.Stream.Close()
		w.Stream = nil
	}
	switch p {
	case EC2:
		w.header().Set("Content-Type", "text/xml;charset=UTF-8")
		b = append(b, prolog...)
		b = append(b, "<Response><Errors><Error>"...)
		b = appendError(b, e)
		b = append(b, "</Error></Errors>"...)
		b = AppendString(b, "RequestID", w.RequestID)
		b = append(b, "</Response>"...)
	case RestXML:
		if w.Status == http.StatusNotModified { // has no body
			break
		}
		w.header().Set("Content-Type", "application/xml")
		b = append(b, prolog...)
		b = append(b, "<Error>"...)
		b = appendError(b, e)
		b = AppendString(b, "RequestId", w.RequestID)
		b = AppendString(b, "HostId", w.HostID)
		b = append(b, "</Error>"...)
	case RestJSON:
		w.header().Set("Content-Type", "application/json")
		w.header().Set("X-Amzn-Errortype", e.Code)
		b = JSONString(append(b, '{'), "Message", e.Message)
		for _, f := range e.Fields {
			b = JSONString(b, f.Name, f.Value)
		}
		b = append(b, '}')
	case JSON:
		w.header().Set("Content-Type", "application/x-amz-json-1.1")
		w.header().Set("X-Amzn-Errortype", e.Code)
		b = append(b, `{"__type":`...)
		b = appendJSONString(b, e.Code)
		b = append(b, `,"message":`...)
		b = appendJSONString(b, e.Message)
		b = append(b, '}')
	default:
		w.header().Set("Content-Type", "text/xml")
		b = openRoot(b, "ErrorResponse", w.Namespace)
		b = append(b, "<Error><Type>"...)
		if w.Status >= 500 {
			b = append(b, "Receiver"...)
		} else {
			b = append(b, "Sender"...)
		}
		b = append(b, "</Type>"...)
		b = appendError(b, e)
		b = append(b, "</Error>"...)
		b = AppendString(b, "RequestId", w.RequestID)
		b = append(b, "</ErrorResponse>"...)
	}
	w.Body = b
}

func appendJSONString(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a string always marshals
	return append(b, text...)
}

func appendError(b []byte, e *awserr.Error) []byte {
	b = AppendString(b, "Code", e.Code)
	b = AppendString(b, "Message", e.Message)
	for _, f := range e.Fields {
		b = AppendString(b, f.Name, f.Value)
	}
	return b
}
