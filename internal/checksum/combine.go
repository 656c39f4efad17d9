package checksum

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// A CRC is linear: that of A followed by B is that of A followed by as many zeros as B is long, xor that of B.
// The step over one zero byte is a matrix over GF(2); its powers by squaring give any length.

// polynomial in reversed bit order, as the bits are shifted.
func (a Algorithm) polynomial() (poly uint64, width int) {
	switch a {
	case CRC32:
		return crc32.IEEE, 32
	case CRC32C:
		return crc32.Castagnoli, 32
	}
	return 0x9a6c9329ac4bc9b5, 64
}

// combine gives the CRC of parts one after the other.
func (a Algorithm) combine(parts []Part) (string, error) {
	poly, width := a.polynomial()
	powers := zeroPowers(poly)
	var crc uint64
	for _, p := range parts {
		b, err := a.decode(p.Value)
		if err != nil {
			return "", err
		}
		crc = shift(&powers, crc, uint64(p.Size))
		if width == 32 {
			crc ^= uint64(binary.BigEndian.Uint32(b))
		} else {
			crc ^= binary.BigEndian.Uint64(b)
		}
	}
	b := binary.BigEndian.AppendUint64(nil, crc)
	return base64.StdEncoding.EncodeToString(b[8-width/8:]), nil
}

// matrix maps each bit of a CRC to a CRC.
type matrix [64]uint64

func (m *matrix) times(v uint64) (out uint64) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			out ^= m[i]
		}
	}
	return out
}

func (m *matrix) square() (out matrix) {
	for i := range m {
		out[i] = m.times(m[i])
	}
	return out
}

// zeroPowers gives, at n, the step over 2^n zero bytes.
func zeroPowers(poly uint64) (powers [64]matrix) {
	var bit matrix // one zero bit
	bit[0] = poly
	for i := 1; i < 64; i++ {
		bit[i] = 1 << (i - 1)
	}
	two := bit.square()
	four := two.square()
	powers[0] = four.square()
	for n := 1; n < 64; n++ {
		powers[n] = powers[n-1].square()
	}
	return powers
}

func shift(powers *[64]matrix, crc, size uint64) uint64 {
	for n := 0; size != 0; n, size = n+1, size>>1 {
		if size&1 != 0 {
			crc = powers[n].times(crc)
		}
	}
	return crc
}
