package wire

// Coverage says which of a service's operations are served, for `karri operations` and the page in docs/.
type Coverage struct {
	Service    string      `json:"service"`
	APIVersion string      `json:"apiVersion"`
	Served     int         `json:"served"`
	Known      int         `json:"known"`
	Operations []Supported `json:"operations"` // all that AWS has, in order of name
}

// Supported is one operation of AWS's.
type Supported struct {
	Name   string `json:"name"`
	Served bool   `json:"served"`
}

// Coverage lists the service's operations.
func (s *Service) Coverage() Coverage {
	c := Coverage{Service: s.Name, APIVersion: s.APIVersion, Served: len(s.Operations), Known: len(s.Known)}
	for _, r := range s.Known {
		c.Operations = append(c.Operations, Supported{r.Name, s.served(r.Name) != nil})
	}
	return c
}
