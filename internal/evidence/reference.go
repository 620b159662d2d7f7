package evidence

import "slices"

// A Reference is a paragraph that asks for something. Text is how a report cites
// it; a check may cite only what stands in References.
type Reference struct {
	Text    string
	Meaning string
	Kind    Kind
	// Rest is what the checks can't show of it, and whose that is; "": they show all that
	// it asks of the cache.
	Rest string
	// Parts are the statements of a control of SP 800-53 that the checks bear on, by their
	// letters; "": it has one.
	Parts string
	// Also are checks that bear on it beside those that cite it.
	Also []string
}

// Kind is how binding a paragraph of the Security Rule is: 45 CFR 164.306(d).
type Kind string

const (
	Required    Kind = "required"
	Addressable Kind = "addressable" // implement, or document why not reasonable and do the equivalent
	Guidance    Kind = "guidance"
)

// What is left to others, in a word.
const (
	organisation = "the organisation's"
	hosting      = "inherited from whoever runs the building and the machines; their agreement and report show it"
)

// References are the sources, in the order in which documents list them: 45 CFR parts 160
// and 164 as of 2026, then NIST's. A row whose Rest begins with whose it is has no check.
var References = slices.Concat(administrative, physical, technical, documents, guidance, controls)

// administrative safeguards, 45 CFR 164.306 and 164.308.
var administrative = []Reference{
	{Text: "45 CFR 164.306(a)", Meaning: "protect confidentiality, integrity and availability of ePHI", Kind: Required, Rest: organisation + ", over all its systems"},
	{Text: "45 CFR 164.308(a)(1)(ii)(A)", Meaning: "accurate and thorough risk analysis", Kind: Required, Rest: organisation + "; section 3 is a part of it, for this system"},
	{Text: "45 CFR 164.308(a)(1)(ii)(B)", Meaning: "reduce risks to a reasonable and appropriate level", Kind: Required, Rest: "whether that level is reached is the organisation's to say", Also: []string{"RD-126", "RD-512", "RD-601"}},
	{Text: "45 CFR 164.308(a)(1)(ii)(C)", Meaning: "sanction policy", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.308(a)(1)(ii)(D)", Meaning: "review records of system activity", Kind: Required, Rest: "that somebody reads them is the organisation's", Also: []string{"RD-602", "RD-620"}},
	{Text: "45 CFR 164.308(a)(2)", Meaning: "assigned security responsibility", Kind: Required, Rest: organisation + ": the approval above names who"},
	{Text: "45 CFR 164.308(a)(3)(ii)(A)", Meaning: "authorisation and supervision of the workforce", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(3)(ii)(C)", Meaning: "termination procedures", Kind: Addressable, Rest: "that it is done when somebody leaves is the organisation's (section 6)", Also: []string{"RD-125", "RD-203", "RD-204"}},
	{Text: "45 CFR 164.308(a)(4)", Meaning: "information access management", Kind: Required, Rest: "who is to have access is the organisation's"},
	{Text: "45 CFR 164.308(a)(5)(i)", Meaning: "security awareness and training, with reminders, malicious software, log-ins and passwords", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.308(a)(5)(ii)(B)", Meaning: "training: guarding against malicious software", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(5)(ii)(C)", Meaning: "training: log-in monitoring", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(5)(ii)(D)", Meaning: "training: password management", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(6)(ii)", Meaning: "respond to and report incidents", Kind: Required, Rest: organisation + "; section 6 has the cache's part"},
	{Text: "45 CFR 164.308(a)(7)(ii)(A)", Meaning: "data backup plan", Kind: Required, Rest: organisation + "; section 4 says what of the cache is lost"},
	{Text: "45 CFR 164.308(a)(7)(ii)(B)", Meaning: "disaster recovery plan", Kind: Required, Rest: organisation + "; the cache begins empty"},
	{Text: "45 CFR 164.308(a)(7)(ii)(C)", Meaning: "emergency mode operation plan", Kind: Required, Rest: organisation + "; applications work without the cache, or don't: their plan says"},
	{Text: "45 CFR 164.308(a)(7)(ii)(D)", Meaning: "testing and revision of the plans", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(7)(ii)(E)", Meaning: "criticality of applications and data", Kind: Addressable, Rest: organisation},
	{Text: "45 CFR 164.308(a)(8)", Meaning: "periodic technical and non-technical evaluation", Kind: Required, Rest: "the non-technical part, and by somebody else than the product, is the organisation's"},
	{Text: "45 CFR 164.308(b)(1)", Meaning: "written contracts with business associates, such as a cloud or hosting company", Kind: Required, Rest: organisation},
}

// physical safeguards, 45 CFR 164.310.
var physical = []Reference{
	{Text: "45 CFR 164.310(a)(1)", Meaning: "facility access controls", Kind: Required, Rest: hosting},
	{Text: "45 CFR 164.310(b)", Meaning: "workstation use", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.310(c)", Meaning: "workstation security", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.310(d)(1)", Meaning: "device and media controls", Kind: Required, Rest: "the devices are the hosting's; the cache's part is that it leaves nothing on them"},
	{Text: "45 CFR 164.310(d)(2)(i)", Meaning: "disposal of media", Kind: Required, Rest: "disposal is the hosting's; the cache's part is that nothing is on them", Also: []string{"RD-401", "RD-405", "RD-441", "RD-447"}},
	{Text: "45 CFR 164.310(d)(2)(ii)", Meaning: "removal of ePHI before media are used again", Kind: Required, Rest: "re-use is the hosting's; the cache's part is that nothing is on them", Also: []string{"RD-401", "RD-405", "RD-441", "RD-447"}},
}

// technical safeguards, 45 CFR 164.312.
var technical = []Reference{
	{Text: "45 CFR 164.312(a)(1)", Meaning: "access control: only those who were granted rights", Kind: Required, Rest: "people's rights are the application's"},
	{Text: "45 CFR 164.312(a)(2)(i)", Meaning: "unique user identification", Kind: Required, Rest: "of those who use records: the application's (section 4)"},
	{Text: "45 CFR 164.312(a)(2)(ii)", Meaning: "emergency access procedure", Kind: Required, Rest: organisation + ": records are reached without the cache, in the system that holds them; administrators reach hosts through the bastions"},
	{Text: "45 CFR 164.312(a)(2)(iii)", Meaning: "automatic logoff", Kind: Addressable, Rest: organisation + ": of people, by the application; the application's own connections to the cache are not ended for being idle"},
	{Text: "45 CFR 164.312(a)(2)(iv)", Meaning: "encryption and decryption of stored ePHI", Kind: Addressable, Rest: "memory is not encrypted by the cache"},
	{Text: "45 CFR 164.312(b)", Meaning: "audit controls: record and examine activity", Kind: Required, Rest: "who read which record is the application's to record (section 4)", Also: []string{"RD-602", "RD-620"}},
	{Text: "45 CFR 164.312(c)(1)", Meaning: "protect ePHI from improper alteration or destruction", Kind: Required, Rest: "by who may write: the application's"},
	{Text: "45 CFR 164.312(c)(2)", Meaning: "corroborate that ePHI was not altered", Kind: Addressable, Rest: organisation + ": the application signs what it must know to be its own (section 4)"},
	{Text: "45 CFR 164.312(d)", Meaning: "person or entity authentication", Kind: Required, Rest: "of people: the application's"},
	{Text: "45 CFR 164.312(e)(1)", Meaning: "transmission security", Kind: Required},
	{Text: "45 CFR 164.312(e)(2)(i)", Meaning: "integrity of what is transmitted", Kind: Addressable, Also: []string{"RD-301", "RD-302", "RD-303"}},
	{Text: "45 CFR 164.312(e)(2)(ii)", Meaning: "encryption of what is transmitted", Kind: Addressable},
}

// documents and notices, 45 CFR 164.314, 164.316 and 164.404 to 164.410.
var documents = []Reference{
	{Text: "45 CFR 164.314(a)", Meaning: "what contracts with business associates must say", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.316(b)(1)", Meaning: "written policies, procedures and actions", Kind: Required, Rest: "the organisation's policies; this document is of one system"},
	{Text: "45 CFR 164.316(b)(2)(i)", Meaning: "kept for six years", Kind: Required, Rest: "who had access, and what administrators did, is kept with the CA; this document, its evidence and all else are the organisation's to keep"},
	{Text: "45 CFR 164.316(b)(2)(ii)", Meaning: "available to those who carry them out", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.316(b)(2)(iii)", Meaning: "reviewed, and updated after changes", Kind: Required, Rest: organisation + ": the next review is named above"},
	{Text: "45 CFR 164.404", Meaning: "notice to individuals of a breach, within 60 days", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.406", Meaning: "notice to the media, of more than 500 residents of a state", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.408", Meaning: "notice to the Secretary", Kind: Required, Rest: organisation},
	{Text: "45 CFR 164.410", Meaning: "notice by a business associate to the covered entity, within 60 days", Kind: Required, Rest: organisation},
}

// guidance of NIST beside the catalogue of controls.
var guidance = []Reference{
	{Text: "NIST SP 800-52r2", Meaning: "TLS: section 3.1 versions, 3.2 certificates, 3.3 cipher suites, 3.4 extensions; section 4 clients", Kind: Guidance, Rest: "revocation is by the deployment's own lists, not by OCSP (3.2, 3.4)"},
	{Text: "NIST SP 800-57pt1r5", Meaning: "key strengths and lifetimes", Kind: Guidance, Rest: "custody of the CA's key is the organisation's"},
	{Text: "FIPS 140-3", Meaning: "validated cryptographic modules", Kind: Guidance, Rest: "which validation applies to this platform is the organisation's to look up at NIST's CMVP"},
}

// Find is the reference that a report cites as text.
func Find(text string) (Reference, bool) {
	i := slices.IndexFunc(References, func(r Reference) bool { return r.Text == text })
	if i < 0 {
		return Reference{}, false
	}
	return References[i], true
}
