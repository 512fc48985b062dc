using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>
/// Users over REST: <c>GET /users</c>, <c>GET, PUT, DELETE /users/{name}</c>, <c>PUT, DELETE /users/{name}/password</c>,
/// <c>PUT, DELETE /users/{name}/tokens/{token}</c> and, for everybody, <c>PUT /password</c>. Thread-safe.
/// </summary>
internal sealed class RestUsers(UserStore users, OwnPassword ownPassword)
{
    internal const string Prefix = "/users/";

    private const string PasswordPart = "password";
    private const string TokensPart = "tokens";
    private const int MaxBodyBytes = 64 * 1024;

    /// <summary>The resource of a path below /users/, or the path itself if there is none.</summary>
    internal static string RouteOf(ReadOnlySpan<char> path) => Parts(path) switch
    {
        [not ""] => RestRoutes.User,
        [not "", PasswordPart] => RestRoutes.UserPassword,
        [not "", TokensPart, not ""] => RestRoutes.UserToken,
        _ => path.ToString(),
    };

    /// <summary>Answers GET /users.</summary>
    public Task ListAsync(HttpContext context) => RestTransactions.AnswerAsync(context, json =>
    {
        json.WriteStartArray("users");
        foreach (User user in users.Current.All)
        {
            json.WriteStartObject();
            JsonUser.Write(json, user);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    /// <summary>Answers PUT /password.</summary>
    public async Task ChangeOwnPasswordAsync(HttpContext context)
    {
        using RequestBody body = await ReadBodyAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        if (!JsonUser.TryReadOwnPassword(body.Memory, out string old, out string next, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        UserResult result = await ownPassword.ChangeAsync(Caller.Of(context), old, next);
        await (result.Status == Status.Ok ? TellAsync(context, result) : Problem.Refused(result.Status, result.Detail!, result.RetryAfter).WriteAsync(context));
    }

    /// <summary>Answers what is below /users/.</summary>
    public Task RouteAsync(HttpContext context, in RestTarget target)
    {
        string route = RouteOf(target.Path);
        string method = context.Request.Method;
        if (RestRoutes.MethodsOf(route) is not { } methods)
        {
            return RestFrontDoor.RefuseAsync(context, target.Path.ToString());
        }

        if (!methods.Split(", ").Contains(method))
        {
            return Problem.MethodNotAllowed(method, methods).WriteAsync(context);
        }

        if (!RestQuery.TryParse(target.Query, [], out _, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        string[] parts = Parts(target.Path);
        string name = Uri.UnescapeDataString(parts[0]);
        bool isDelete = HttpMethods.IsDelete(method);
        return (route, isDelete) switch
        {
            (RestRoutes.UserPassword, true) => ChangeAsync(context, new UserChange.SetPassword(name, null)),
            (RestRoutes.UserPassword, false) => SetPasswordAsync(context, name),
            (RestRoutes.UserToken, true) => ChangeAsync(context, new UserChange.RemoveToken(name, Uri.UnescapeDataString(parts[2]))),
            (RestRoutes.UserToken, false) => ChangeAsync(context, new UserChange.AddToken(name, Uri.UnescapeDataString(parts[2]))),
            (_, true) => ChangeAsync(context, new UserChange.Remove(name)),
            _ => HttpMethods.IsPut(method) ? PutAsync(context, name) : ReadAsync(context, name),
        };
    }

    private Task ReadAsync(HttpContext context, string name) => users.Current.Find(name) is { } user
        ? RestTransactions.AnswerAsync(context, json => JsonUser.Write(json, user))
        : Problem.User(Status.NotFound, $"there is no user '{name}'").WriteAsync(context);

    private async Task PutAsync(HttpContext context, string name)
    {
        using RequestBody body = await ReadBodyAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        if (!JsonUser.TryRead(body.Memory, name, out UserChange.Put? put, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        await ChangeAsync(context, put!);
    }

    private async Task SetPasswordAsync(HttpContext context, string name)
    {
        using RequestBody body = await ReadBodyAsync(context);
        if (body.IsTooLong)
        {
            return;
        }

        if (!JsonUser.TryReadPassword(body.Memory, out string? password, out string wrong))
        {
            await Problem.Malformed(wrong).WriteAsync(context);
            return;
        }

        await ChangeAsync(context, new UserChange.SetPassword(name, password));
    }

    private async Task ChangeAsync(HttpContext context, UserChange change)
    {
        UserResult result = await users.ChangeAsync(change);
        if (result.Status != Status.Ok)
        {
            await Problem.User(result.Status, result.Detail!).WriteAsync(context);
            return;
        }

        if (change is UserChange.Remove)
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }

        context.Response.StatusCode = result.IsNew || change is UserChange.AddToken ? StatusCodes.Status201Created : StatusCodes.Status200OK;
        await TellAsync(context, result);
    }

    private static Task TellAsync(HttpContext context, UserResult result)
    {
        context.Response.Headers.CacheControl = "no-store";
        return RestTransactions.AnswerAsync(context, json =>
        {
            JsonUser.Write(json, result.User!);
            if (result.Secret is { } secret)
            {
                json.WriteString("secret", secret);
            }
        });
    }

    private static async ValueTask<RequestBody> ReadBodyAsync(HttpContext context)
    {
        if (!MediaType.IsJson(context.Request.ContentType))
        {
            await Problem.Http(
                StatusCodes.Status415UnsupportedMediaType, "Unknown media type",
                $"Content-Type is '{context.Request.ContentType}'; allowed is: {RestJson.ContentType}").WriteAsync(context);
            return RequestBody.TooLong;
        }

        RequestBody body = await RequestBody.ReadAsync(context.Request, MaxBodyBytes, context.RequestAborted);
        if (body.IsTooLong)
        {
            await Problem.Of(Status.TooLarge, $"the body is longer than a user can be, {MaxBodyBytes} bytes").WriteAsync(context);
        }

        return body;
    }

    private static string[] Parts(ReadOnlySpan<char> path) => path[Prefix.Length..].ToString().Split('/');
}
