namespace KeyVa.Client;

/// <summary>
/// The server cannot be reached, the connection was lost, or no answer came in time. A read can be tried again; whether
/// a write happened is unknown unless <see cref="NothingSent"/>.
/// </summary>
public sealed class ServerUnreachableException : StoreException
{
    internal ServerUnreachableException(ServerAddress address, string message, bool nothingSent, Exception? inner = null)
        : base(message, inner!)
    {
        Address = address;
        NothingSent = nothingSent;
    }

    /// <summary>The server that was called.</summary>
    public ServerAddress Address { get; }

    /// <summary>Whether it is certain that the server never saw the request.</summary>
    public bool NothingSent { get; }
}
