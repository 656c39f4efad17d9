package ec2

// accountOperations is the table's part on regions, zones, key pairs and tags.
func accountOperations() map[string]members {
	return map[string]members{
		"DescribeRegions":           {used: "DryRun Filters RegionNames", harmless: map[string]string{"AllRegions": "every region of the cloud is enabled"}},
		"DescribeAvailabilityZones": {used: "DryRun Filters ZoneNames ZoneIds", harmless: map[string]string{"AllAvailabilityZones": "every zone of the cloud is enabled"}},
		"DescribeAccountAttributes": {used: "DryRun AttributeNames"},
		"CreateKeyPair":             {on: "key-pair:+KeyName", more: made("key-pair", createdKeyPair), used: "DryRun KeyName KeyType KeyFormat TagSpecifications", note: "KeyFormat ppk is refused."},
		"ImportKeyPair":             {on: "key-pair:+KeyName", used: "DryRun KeyName PublicKeyMaterial TagSpecifications"},
		"DescribeKeyPairs":          {used: "DryRun Filters KeyNames KeyPairIds IncludePublicKey"},
		"DeleteKeyPair":             {on: "key-pair:KeyName,KeyPairId", used: "DryRun KeyName KeyPairId"},
		"CreateTags":                {on: "any:Resources", used: "DryRun Resources Tags"},
		"DeleteTags":                {on: "any:Resources", used: "DryRun Resources Tags"},
		"DescribeTags":              {used: pageMembers},
	}
}
