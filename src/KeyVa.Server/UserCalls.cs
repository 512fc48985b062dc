using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>The calls of control.proto about users. Thread-safe.</summary>
internal sealed class UserCalls(UserStore users, OwnPassword ownPassword)
{
    /// <summary>Answers WhoAmI.</summary>
    internal static ValueTask<GrpcResult<WhoAmIResponse>> WhoAmI(WhoAmIRequest request, GrpcCallContext call)
    {
        WhoAmIResponse response = new();
        if (Caller.Of(call.HttpContext).User is { } user)
        {
            response.User = ToMessage(user);
        }

        return new(response);
    }

    /// <summary>Answers ListUsers.</summary>
    internal ValueTask<GrpcResult<ListUsersResponse>> List(ListUsersRequest request, GrpcCallContext call)
    {
        ListUsersResponse response = new();
        response.Users.AddRange(users.Current.All.Select(ToMessage));
        return new(response);
    }

    /// <summary>Answers AddUser.</summary>
    internal async ValueTask<GrpcResult<UserResponse>> AddAsync(AddUserRequest request, GrpcCallContext call) =>
        TryRead(request.Grants, out List<Grant> grants, out string wrong)
            ? await ChangeAsync(new UserChange.Add(request.Name, grants, TextOrNull(request.Password), Names(request.Certificates)), call)
            : GrpcRefusal.Malformed(call, wrong);

    /// <summary>Answers RemoveUser.</summary>
    internal ValueTask<GrpcResult<UserResponse>> RemoveAsync(RemoveUserRequest request, GrpcCallContext call) => ChangeAsync(new UserChange.Remove(request.Name), call);

    /// <summary>Answers SetUserGrants.</summary>
    internal async ValueTask<GrpcResult<UserResponse>> SetGrantsAsync(SetUserGrantsRequest request, GrpcCallContext call) =>
        TryRead(request.Grants, out List<Grant> grants, out string wrong)
            ? await ChangeAsync(new UserChange.SetGrants(request.Name, grants), call)
            : GrpcRefusal.Malformed(call, wrong);

    /// <summary>Answers SetUserPassword.</summary>
    internal ValueTask<GrpcResult<UserResponse>> SetPasswordAsync(SetUserPasswordRequest request, GrpcCallContext call) =>
        ChangeAsync(new UserChange.SetPassword(request.Name, TextOrNull(request.Password)), call);

    /// <summary>Answers ChangeOwnPassword.</summary>
    internal async ValueTask<GrpcResult<UserResponse>> ChangeOwnPasswordAsync(ChangeOwnPasswordRequest request, GrpcCallContext call)
    {
        UserResult result = await ownPassword.ChangeAsync(Caller.Of(call.HttpContext), request.OldPassword, request.NewPassword);
        return result.Status == Status.Ok
            ? new UserResponse { User = ToMessage(result.User!) }
            : GrpcRefusal.Of(call, result.Status, result.Detail, result.RetryAfter);
    }

    /// <summary>Answers SetUserCertificates.</summary>
    internal ValueTask<GrpcResult<UserResponse>> SetCertificatesAsync(SetUserCertificatesRequest request, GrpcCallContext call) =>
        ChangeAsync(new UserChange.SetCertificates(request.Name, Names(request.Certificates)), call);

    /// <summary>Answers AddUserToken.</summary>
    internal async ValueTask<GrpcResult<AddUserTokenResponse>> AddTokenAsync(AddUserTokenRequest request, GrpcCallContext call)
    {
        UserResult result = await users.ChangeAsync(new UserChange.AddToken(request.Name, request.Token));
        return result.Status == Status.Ok
            ? new AddUserTokenResponse { User = ToMessage(result.User!), Secret = result.Secret }
            : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    /// <summary>Answers RemoveUserToken.</summary>
    internal ValueTask<GrpcResult<UserResponse>> RemoveTokenAsync(RemoveUserTokenRequest request, GrpcCallContext call) =>
        ChangeAsync(new UserChange.RemoveToken(request.Name, request.Token), call);

    private async ValueTask<GrpcResult<UserResponse>> ChangeAsync(UserChange change, GrpcCallContext call)
    {
        UserResult result = await users.ChangeAsync(change);
        return result.Status == Status.Ok ? new UserResponse { User = ToMessage(result.User!) } : GrpcRefusal.Of(call, result.Status, result.Detail);
    }

    private static bool TryRead(IEnumerable<UserGrant> messages, out List<Grant> grants, out string wrong)
    {
        grants = [];
        wrong = "";
        foreach (UserGrant message in messages)
        {
            if (message.Plane is not ("data" or "control") || !Grant.TryLevel(message.Role, out Level level))
            {
                wrong = $"there is no grant of the role '{message.Role}' on the plane '{message.Plane}'; planes are data and control, roles are read, write and admin";
                return false;
            }

            grants.Add(new Grant(message.Plane == "data" ? Plane.Data : Plane.Control, level, message.Prefix.ToByteArray()));
        }

        return true;
    }

    private static string? TextOrNull(string text) => text.Length == 0 ? null : text;

    private static string[] Names(IEnumerable<string> certificates) => [.. certificates.Select(CertificateName.Normal)];

    private static Wire.User ToMessage(Identity.User user)
    {
        Wire.User message = new() { Name = user.Name, HasPassword = user.Password is not null };
        message.Grants.AddRange(user.Grants.Select(static grant => new UserGrant
        {
            Plane = Grant.Word(grant.Plane),
            Role = Grant.Word(grant.Level),
            Prefix = UnsafeByteOperations.UnsafeWrap(grant.Prefix),
        }));
        message.Tokens.AddRange(user.Tokens.Select(static token => new UserToken
        {
            Name = token.Name,
            CreatedUnixMs = token.CreatedUnixMilliseconds,
            OneTime = token.IsOneTime,
        }));
        message.Certificates.AddRange(user.Certificates);
        return message;
    }
}
