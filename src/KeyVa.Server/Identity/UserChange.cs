namespace KeyVa.Server.Identity;

/// <summary>What is to be done to the users, as the front doors ask for it. Immutable.</summary>
internal abstract record UserChange(string Name)
{
    /// <summary>A user that there is not yet; <paramref name="Token"/>: with a token of this name, for one time.</summary>
    public sealed record Add(string Name, IReadOnlyList<Grant> Grants, string? Password, IReadOnlyList<string> Certificates, string? Token = null) : UserChange(Name)
    {
        // A record prints its members, and a password must not be.
        public override string ToString() => $"Add {Name}";
    }

    /// <summary>A user as told, made if there is none; what is null stays as it is.</summary>
    public sealed record Put(string Name, IReadOnlyList<Grant>? Grants, string? Password, IReadOnlyList<string>? Certificates) : UserChange(Name)
    {
        public override string ToString() => $"Put {Name}";
    }

    public sealed record Remove(string Name) : UserChange(Name);

    /// <summary>These grants, in place of those it has.</summary>
    public sealed record SetGrants(string Name, IReadOnlyList<Grant> Grants) : UserChange(Name);

    /// <summary>Null: none any more.</summary>
    public sealed record SetPassword(string Name, string? Password) : UserChange(Name)
    {
        // A record prints its members, and this one must not.
        public override string ToString() => $"SetPassword {Name}";
    }

    /// <summary>In place of one that the user has shown that it knows; if that is still the one it has.</summary>
    public sealed record SetOwnPassword(string Name, string Password, PasswordHash Known) : UserChange(Name)
    {
        public override string ToString() => $"SetOwnPassword {Name}";
    }

    /// <summary>These, in place of those it has.</summary>
    public sealed record SetCertificates(string Name, IReadOnlyList<string> Certificates) : UserChange(Name);

    public sealed record AddToken(string Name, string Token) : UserChange(Name);

    public sealed record RemoveToken(string Name, string Token) : UserChange(Name);
}

/// <summary>How a change of the users ended.</summary>
/// <param name="Status">Ok, NotFound, ConditionFailed (it is there already, or the last administrator would go), Invalid, TooLarge; of one's own password also PermissionDenied and RateLimited.</param>
/// <param name="Detail">For people.</param>
/// <param name="User">As it is now.</param>
/// <param name="Secret">A new token, to be shown once.</param>
/// <param name="IsNew">The user was made by it.</param>
internal readonly record struct UserResult(Status Status, string? Detail = null, User? User = null, string? Secret = null, bool IsNew = false)
{
    /// <summary>Of RateLimited: when to come back.</summary>
    public TimeSpan RetryAfter { get; init; }

    // A record prints its members, and a secret must not be.
    public override string ToString() => $"{Status}: {Detail}";
}
