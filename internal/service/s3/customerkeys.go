package s3

import (
	"crypto/md5"
	"encoding/base64"
	"errors"

	"karri.dev/internal/object"
)

// key is the customer's key that a write brings; nil if none.
func (w writing) key() ([]byte, error) {
	key, err := customerKey(w.customer, w.customerKey)
	if err == nil && key != nil && w.sse != "" {
		err = invalidArgument("x-amz-server-side-encryption", w.sse, "Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	}
	return key, err
}

// customerKey judges the key of SSE-C. values are the algorithm and the key's MD5.
func customerKey(values []string, key []byte) ([]byte, error) {
	algorithm, sum := values[0], values[1]
	const name = "x-amz-server-side-encryption-customer-"
	switch {
	case algorithm == "" && sum == "" && len(key) == 0:
		return nil, nil
	case algorithm == "":
		return nil, invalidArgument(name+"algorithm", "", "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.")
	case algorithm != aes256:
		return nil, invalidArgument(name+"algorithm", algorithm, "The requested encryption algorithm is not valid, must be AES256.")
	case len(key) == 0:
		return nil, invalidArgument(name+"key", "", "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.")
	case sum == "":
		return nil, invalidArgument(name+"key-MD5", "", "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.")
	case len(key) != 32:
		return nil, invalidArgument(name+"key", "", "The secret key was invalid for the specified algorithm.")
	}
	if have := md5.Sum(key); base64.StdEncoding.EncodeToString(have[:]) != sum {
		return nil, invalidArgument(name+"key-MD5", sum, "The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	return key, nil
}

// unlock opens an object for who brings this key; nil is none.
func unlock(o object.Object, key []byte) error {
	switch needed := o.Meta().Encryption == object.ByCustomer; {
	case !needed && key == nil:
		return nil
	case !needed:
		return invalidRequest("The encryption parameters are not applicable to this object.")
	case key == nil:
		return invalidRequest("The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	}
	err := o.Unlock(key)
	if errors.Is(err, object.ErrKey) {
		return accessDenied()
	}
	return err
}

// checkPartKey judges the key of a part: it must be that of the upload.
func checkPartKey(u object.Upload, key []byte) error {
	switch needed := u.Encryption == object.ByCustomer; {
	case needed && key == nil:
		return invalidRequest("The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")
	case !needed && key != nil:
		return invalidRequest("The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.")
	}
	return nil
}

// cipher is what an answer says of an encryption: x-amz-server-side-encryption, or the customer's algorithm and key.
type cipher struct{ sse, algorithm, keyMD5 string }

func shownCipher(encryption, keyMD5 string) cipher {
	switch encryption {
	case object.ByCloud:
		return cipher{sse: aes256}
	case object.ByCustomer:
		return cipher{algorithm: aes256, keyMD5: keyMD5}
	}
	return cipher{}
}
