using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using Methods = KeyVa.Protocol.V1.Methods;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>One right of a user of a server.</summary>
/// <param name="Plane"><c>data</c> or <c>control</c>.</param>
/// <param name="Role"><c>read</c>, <c>write</c> or <c>admin</c>; each holds those before it.</param>
/// <param name="Prefix">On the data plane: for the keys that begin with it; empty: for all.</param>
public sealed record RemoteGrant(string Plane, string Role, ReadOnlyMemory<byte> Prefix);

/// <summary>A token of a user, without its secret.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="CreatedUnixMilliseconds">When it was made, in milliseconds since 1970-01-01 UTC.</param>
/// <param name="IsOneTime">Whether it ends once its user has another credential.</param>
public sealed record RemoteToken(string Name, long CreatedUnixMilliseconds, bool IsOneTime);

/// <summary>A user of a server, without anything that it proves itself with.</summary>
/// <param name="Name">The name.</param>
/// <param name="Grants">What it may do.</param>
/// <param name="HasPassword">Whether it has a password.</param>
/// <param name="Tokens">Its tokens.</param>
/// <param name="Certificates">The client certificates that are it.</param>
public sealed record RemoteUser(
    string Name, IReadOnlyList<RemoteGrant> Grants, bool HasPassword, IReadOnlyList<RemoteToken> Tokens, IReadOnlyList<string> Certificates);

/// <summary>
/// The users of a server, over its control plane. A change counts from its answer on. Refusals are thrown as <see cref="RefusedException"/>. Thread-safe.
/// </summary>
public sealed class RemoteUsers
{
    private readonly Connection _connection;

    internal RemoteUsers(Connection connection) => _connection = connection;

    /// <summary>Who this client is to the server; null while the server has no users.</summary>
    public async ValueTask<RemoteUser?> WhoAmIAsync(CancellationToken cancellation = default) =>
        (await CallAsync(Methods.WhoAmI, new Wire.WhoAmIRequest(), isRead: true, cancellation)).User is { } user ? ToUser(user) : null;

    /// <summary>All users, by name.</summary>
    public async ValueTask<IReadOnlyList<RemoteUser>> ListAsync(CancellationToken cancellation = default) =>
        [.. (await CallAsync(Methods.ListUsers, new Wire.ListUsersRequest(), isRead: true, cancellation)).Users.Select(ToUser)];

    /// <summary>Adds a user. The first one must be able to administer users.</summary>
    public async ValueTask<RemoteUser> AddAsync(
        string name, IEnumerable<RemoteGrant> grants, string? password = null, IEnumerable<string>? certificates = null, CancellationToken cancellation = default)
    {
        Wire.AddUserRequest request = new() { Name = name, Password = password ?? "" };
        request.Grants.AddRange(grants.Select(ToMessage));
        request.Certificates.AddRange(certificates ?? []);
        return ToUser((await CallAsync(Methods.AddUser, request, isRead: false, cancellation)).User);
    }

    /// <summary>Removes a user.</summary>
    public async ValueTask RemoveAsync(string name, CancellationToken cancellation = default) =>
        await CallAsync(Methods.RemoveUser, new Wire.RemoveUserRequest { Name = name }, isRead: false, cancellation);

    /// <summary>Gives a user these grants, in place of those it has.</summary>
    public async ValueTask<RemoteUser> SetGrantsAsync(string name, IEnumerable<RemoteGrant> grants, CancellationToken cancellation = default)
    {
        Wire.SetUserGrantsRequest request = new() { Name = name };
        request.Grants.AddRange(grants.Select(ToMessage));
        return ToUser((await CallAsync(Methods.SetUserGrants, request, isRead: false, cancellation)).User);
    }

    /// <summary>Gives a user a password; null: none any more.</summary>
    public async ValueTask<RemoteUser> SetPasswordAsync(string name, string? password, CancellationToken cancellation = default) =>
        ToUser((await CallAsync(Methods.SetUserPassword, new Wire.SetUserPasswordRequest { Name = name, Password = password ?? "" }, isRead: false, cancellation)).User);

    /// <summary>
    /// Changes the password of whoever this client is, for the old one (no token does). Whoever came in by the old one, this client too, has to come
    /// in anew.
    /// </summary>
    public async ValueTask<RemoteUser> ChangeOwnPasswordAsync(string oldPassword, string newPassword, CancellationToken cancellation = default)
    {
        Wire.ChangeOwnPasswordRequest request = new() { OldPassword = oldPassword, NewPassword = newPassword };
        return ToUser((await CallAsync(Methods.ChangeOwnPassword, request, isRead: false, cancellation)).User);
    }

    /// <summary>Says which client certificates are a user (<c>sha256:FINGERPRINT</c> or <c>subject:NAME</c>), in place of those that are.</summary>
    public async ValueTask<RemoteUser> SetCertificatesAsync(string name, IEnumerable<string> certificates, CancellationToken cancellation = default)
    {
        Wire.SetUserCertificatesRequest request = new() { Name = name };
        request.Certificates.AddRange(certificates);
        return ToUser((await CallAsync(Methods.SetUserCertificates, request, isRead: false, cancellation)).User);
    }

    /// <summary>Makes a token of a user, and returns it: the server keeps its SHA-256 alone.</summary>
    public async ValueTask<string> AddTokenAsync(string name, string token, CancellationToken cancellation = default) =>
        (await CallAsync(Methods.AddUserToken, new Wire.AddUserTokenRequest { Name = name, Token = token }, isRead: false, cancellation)).Secret;

    /// <summary>Ends a token.</summary>
    public async ValueTask RemoveTokenAsync(string name, string token, CancellationToken cancellation = default) =>
        await CallAsync(Methods.RemoveUserToken, new Wire.RemoveUserTokenRequest { Name = name, Token = token }, isRead: false, cancellation);

    private async ValueTask<TResponse> CallAsync<TRequest, TResponse>(GrpcMethod<TRequest, TResponse> method, TRequest request, bool isRead, CancellationToken cancellation)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        Reply<TResponse> reply = await _connection.CallAsync(method, request, isRead, cancellation);
        return reply.Message ?? throw new RefusedException(reply.Status, reply.Detail ?? "");
    }

    private static Wire.UserGrant ToMessage(RemoteGrant grant) => new() { Plane = grant.Plane, Role = grant.Role, Prefix = WireRecord.Lend(grant.Prefix) };

    private static RemoteUser ToUser(Wire.User user) => new(
        user.Name,
        [.. user.Grants.Select(static grant => new RemoteGrant(grant.Plane, grant.Role, grant.Prefix.Memory))],
        user.HasPassword,
        [.. user.Tokens.Select(static token => new RemoteToken(token.Name, token.CreatedUnixMs, token.OneTime))],
        [.. user.Certificates]);
}
