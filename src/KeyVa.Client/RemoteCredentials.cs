using System.Text;

namespace KeyVa.Client;

/// <summary>What a client proves itself with to a server that has users. Immutable; never prints the secret.</summary>
public sealed class RemoteCredentials
{
    private RemoteCredentials(string description, string header)
    {
        Description = description;
        Header = header;
    }

    /// <summary>What goes into the metadata <c>authorization</c>.</summary>
    internal string Header { get; }

    private string Description { get; }

    /// <summary>A user's name and password. Send them over TLS, or to a server on the same machine.</summary>
    public static RemoteCredentials Password(string user, string password)
    {
        ArgumentException.ThrowIfNullOrEmpty(user);
        ArgumentException.ThrowIfNullOrEmpty(password);
        return user.Contains(':', StringComparison.Ordinal)
            ? throw new ArgumentException("the name of a user has no colon", nameof(user))
            : new RemoteCredentials($"user {user}", "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")));
    }

    /// <summary>A bearer token, which says by itself whose it is.</summary>
    public static RemoteCredentials Token(string token)
    {
        ArgumentException.ThrowIfNullOrEmpty(token);
        return token.AsSpan().ContainsAnyExceptInRange('!', '~')
            ? throw new ArgumentException("a token has neither blanks nor line ends; was the whole file taken?", nameof(token))
            : new RemoteCredentials("a token", "Bearer " + token);
    }

    /// <inheritdoc/>
    public override string ToString() => Description;
}
