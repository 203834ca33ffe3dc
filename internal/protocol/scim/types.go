package scim

// The resource types. Each call gives its own, so that nothing is shared.

func text(name, description string) Attribute {
	return Attribute{Name: name, Type: String, Description: description, Mutability: "readWrite", Returned: "default", Uniqueness: "none"}
}

func flag(name, description string) Attribute {
	a := text(name, description)
	a.Type = Boolean
	return a
}

func exact(a Attribute) Attribute { a.CaseExact = true; return a }

func required(a Attribute) Attribute { a.Required = true; return a }

func readOnly(a Attribute) Attribute { a.Mutability = "readOnly"; return a }

func immutable(a Attribute) Attribute { a.Mutability = "immutable"; return a }

// onRequest is for what an answer has only where it is named.
func onRequest(a Attribute) Attribute { a.Returned = "request"; return a }

func reference(name, description string, types ...string) Attribute {
	a := text(name, description)
	a.Type, a.ReferenceTypes, a.CaseExact = Reference, types, true
	return a
}

func object(name, description string, sub ...Attribute) Attribute {
	a := text(name, description)
	a.Type, a.SubAttributes = Complex, sub
	return a
}

func list(a Attribute) Attribute { a.MultiValued = true; return a }

// values is a multi-valued attribute in the usual form (RFC 7643, section 2.4).
func values(name, description string, kinds ...string) Attribute {
	kind := text("type", "A label of what the value is for.")
	kind.CanonicalValues = kinds
	return list(object(name, description,
		text("value", "The value."), text("display", "A name to show."), kind, flag("primary", "Whether it is the preferred value."),
	))
}

// common are the attributes of every resource (RFC 7643, section 3.1).
func common() []Attribute {
	id := readOnly(exact(text("id", "Our own id; never used again.")))
	id.Returned, id.Uniqueness = "always", "global"
	return []Attribute{
		id,
		exact(text("externalId", "The id that the provisioning system has for it.")),
		readOnly(object("meta", "What kind of resource it is, and when it changed.",
			readOnly(exact(text("resourceType", "The kind."))),
			readOnly(Attribute{Name: "created", Type: DateTime, Description: "When it was made.", Mutability: "readOnly", Returned: "default", Uniqueness: "none"}),
			readOnly(Attribute{Name: "lastModified", Type: DateTime, Description: "When it changed last.", Mutability: "readOnly", Returned: "default", Uniqueness: "none"}),
			readOnly(reference("location", "Its address.", "uri")),
			readOnly(exact(text("version", "Its ETag."))),
		)),
	}
}

// roles are the rights of a subject: each value is the ARN of an IAM role.
func roles() Attribute {
	a := values("roles", "IAM roles that the subject holds; value is the role's ARN.")
	a.SubAttributes[0] = required(exact(text("value", "The ARN of an IAM role.")))
	for i := range a.SubAttributes[1:] { // clients send them; the ARN says it all
		a.SubAttributes[i+1] = readOnly(a.SubAttributes[i+1])
	}
	return a
}

// groups are read-only: membership is changed at the group (RFC 7643, 4.1.2).
func groups() Attribute {
	return readOnly(list(object("groups", "Groups that the subject is in.",
		readOnly(exact(text("value", "The group's id."))), readOnly(reference("$ref", "The group's address.", "Group")),
		readOnly(text("display", "The group's name.")), readOnly(text("type", "direct or indirect.")))))
}

// Users is the resource type of people.
func Users() *ResourceType {
	name := required(text("userName", "The name that the person signs in by."))
	name.Uniqueness = "server"
	return &ResourceType{Name: "User", Endpoint: "/Users", common: common(), Extensions: []*Schema{enterprise()}, Schema: &Schema{
		ID: UserSchema, Name: "User", Description: "A person.", Attributes: []Attribute{
			name,
			object("name", "The parts of the person's name.",
				text("formatted", "The whole name."), text("familyName", "The family name."), text("givenName", "The given name."),
				text("middleName", "Middle names."), text("honorificPrefix", "A title."), text("honorificSuffix", "A suffix.")),
			text("displayName", "The name to show."), text("nickName", "A casual name."), reference("profileUrl", "A page about the person.", "external"),
			text("title", "The job's title."), text("userType", "The relation to the organisation."),
			text("preferredLanguage", "The language."), text("locale", "The locale."), text("timezone", "The time zone."),
			required(flag("active", "Whether the person may sign in and holds anything; true where nothing is said.")),
			values("emails", "Mail addresses.", "work", "home", "other"),
			values("phoneNumbers", "Telephone numbers.", "work", "home", "mobile", "fax", "pager", "other"),
			list(object("addresses", "Postal addresses.",
				text("formatted", "The whole address."), text("streetAddress", "The street."), text("locality", "The town."), text("region", "The region."),
				text("postalCode", "The postal code."), text("country", "The country."), text("type", "What the address is for."), flag("primary", "Whether it is the preferred one."))),
			groups(),
			values("entitlements", "Further rights, kept and shown; nothing here is decided by them."),
			roles(),
		},
	}}
}

func enterprise() *Schema {
	return &Schema{ID: EnterpriseSchema, Name: "EnterpriseUser", Description: "What an organisation knows of a person.", Attributes: []Attribute{
		text("employeeNumber", "The number in the organisation."), text("costCenter", "The cost centre."), text("organization", "The organisation."),
		text("division", "The division."), text("department", "The department."),
		object("manager", "The person's manager.", exact(text("value", "The manager's id.")), reference("$ref", "The manager's address.", "User"), readOnly(text("displayName", "The manager's name."))),
	}}
}

// Groups is the resource type of groups.
func Groups() *ResourceType {
	name := required(text("displayName", "The group's name."))
	name.Uniqueness = "server"
	members := list(object("members", "Who is in the group.",
		immutable(exact(text("value", "The member's id."))), immutable(reference("$ref", "The member's address.", "User", "Group")),
		onRequest(readOnly(text("type", "User, Group or ServicePrincipal."))), onRequest(readOnly(text("display", "The member's name.")))))
	return &ResourceType{Name: "Group", Endpoint: "/Groups", common: common(), Schema: &Schema{
		ID: GroupSchema, Name: "Group", Description: "A set of people, machines and groups.", Attributes: []Attribute{name, members, groups(), roles()},
	}}
}

// ServicePrincipals is the resource type of machine identities.
func ServicePrincipals() *ResourceType {
	name := required(text("displayName", "The name."))
	name.Uniqueness = "server"
	application := readOnly(exact(text("applicationId", "The id that programs prove themselves by.")))
	return &ResourceType{Name: "ServicePrincipal", Endpoint: "/ServicePrincipals", common: common(), Schema: &Schema{
		ID: ServicePrincipalSchema, Name: "ServicePrincipal", Description: "A machine identity.",
		Attributes: []Attribute{name, application, required(flag("active", "Whether it may prove itself and holds anything; true where nothing is said.")), groups(), roles()},
	}}
}
