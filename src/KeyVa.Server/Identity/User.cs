using System.Text.RegularExpressions;

namespace KeyVa.Server.Identity;

/// <summary>A user: what it proves itself with, and what it may do. Immutable; a change makes another one.</summary>
internal sealed partial class User
{
    public const string NameForms = "1 to 64 letters, digits, dots, hyphens and underscores";

    /// <summary>Bounds of one user.</summary>
    public const int MaxTokens = 64;
    public const int MaxGrants = 256;
    public const int MaxCertificates = 16;

    public User(string name, IReadOnlyList<Grant> grants)
    {
        Name = name;
        Grants = grants;
        Data = Rights.Of(Plane.Data, grants);
        Control = Rights.Of(Plane.Control, grants);
    }

    public string Name { get; }

    public IReadOnlyList<Grant> Grants { get; }

    public Rights Data { get; }

    public Rights Control { get; }

    /// <summary>Null: it has none.</summary>
    public PasswordHash? Password { get; init; }

    public IReadOnlyList<AccessToken> Tokens { get; init; } = [];

    /// <summary>
    /// What client certificates are this user: <c>sha256:</c> and the fingerprint of one in hexadecimal, or a subject as RFC 4514 writes it.
    /// </summary>
    public IReadOnlyList<string> Certificates { get; init; } = [];

    /// <summary>Whether it may administer users, and so let itself and others in.</summary>
    public bool IsAdministrator => Control.Everywhere == Level.Admin;

    public bool HasCredential => Password is not null || Tokens.Count > 0 || Certificates.Count > 0;

    public static bool IsName(string name) => NamePattern().IsMatch(name);

    /// <summary>Whether what a caller has proved itself with is still one of the credentials.</summary>
    public bool Knows(object credential) => credential switch
    {
        AccessToken token => Tokens.Contains(token),
        string certificate => Certificates.Contains(certificate),
        _ => ReferenceEquals(credential, Password),
    };

    /// <summary>Another one, with what is not given as it is.</summary>
    public User With(
        IReadOnlyList<Grant>? grants = null, PasswordHash? password = null, IReadOnlyList<AccessToken>? tokens = null, IReadOnlyList<string>? certificates = null) =>
        new(Name, grants ?? Grants)
        {
            Password = password ?? Password,
            Tokens = tokens ?? Tokens,
            Certificates = certificates ?? Certificates,
        };

    [GeneratedRegex(@"\A[A-Za-z0-9._-]{1,64}\z")]
    private static partial Regex NamePattern();
}
