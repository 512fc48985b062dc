using System.Collections.Frozen;

namespace KeyVa.Server.Identity;

/// <summary>All users at one moment. Immutable; a change makes another one, so whoever holds one can tell by the reference that nothing changed.</summary>
internal sealed class UserDirectory
{
    /// <summary>Users of a server.</summary>
    public const int MaxUsers = 10_000;

    private readonly FrozenDictionary<string, User> _users;
    private readonly FrozenDictionary<string, (User User, AccessToken Token)> _tokens;
    private readonly FrozenDictionary<string, User> _certificates;

    public UserDirectory(IEnumerable<User> users)
    {
        _users = users.ToFrozenDictionary(static user => user.Name, StringComparer.Ordinal);
        _tokens = _users.Values
            .SelectMany(static user => user.Tokens.Select(token => (User: user, Token: token)))
            .ToFrozenDictionary(static one => Convert.ToHexString(one.Token.Hash), StringComparer.Ordinal);
        _certificates = _users.Values
            .SelectMany(static user => user.Certificates.Select(name => (User: user, Name: name)))
            .ToFrozenDictionary(static one => one.Name, static one => one.User, StringComparer.Ordinal);
        All = [.. _users.Values.OrderBy(static user => user.Name, StringComparer.Ordinal)];
    }

    public static UserDirectory Empty { get; } = new([]);

    /// <summary>By name.</summary>
    public IReadOnlyList<User> All { get; }

    /// <summary>Without any users the store is open to whoever reaches it.</summary>
    public bool IsOpen => All.Count == 0;

    public User? Find(string name) => _users.GetValueOrDefault(name);

    /// <summary>The token of a text; null if there is none.</summary>
    public (User User, AccessToken Token)? FindToken(string text) =>
        // A lookup by the hash tells nothing of tokens by the time it takes.
        AccessToken.LooksLikeOne(text) && _tokens.TryGetValue(Convert.ToHexString(AccessToken.HashOf(text)), out (User, AccessToken) found) ? found : null;

    /// <summary>The user of a certificate's fingerprint or subject; null if there is none.</summary>
    public User? FindCertificate(string name) => _certificates.GetValueOrDefault(name);
}
