using System.Diagnostics.CodeAnalysis;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace KeyVa.Server;

/// <summary>Holds the keys of a request of REST, once they are read, against the rights of whoever sent it. Stateless.</summary>
internal static class RestAccess
{
    /// <summary>Whether a key may not be used; the key is disposed of then.</summary>
    public static bool Refuses(HttpContext context, Level level, RestKey key, [NotNullWhen(true)] out Problem? problem)
    {
        problem = null;
        Caller caller = Caller.Of(context);
        if (caller.Data.Allows(level, key.Span))
        {
            return false;
        }

        key.Dispose();
        problem = Denied(context, caller);
        return true;
    }

    /// <summary>Whether what a request asks for may not be done.</summary>
    public static bool Refuses(HttpContext context, Func<Rights, bool> allows, [NotNullWhen(true)] out Problem? problem)
    {
        Caller caller = Caller.Of(context);
        problem = allows(caller.Data) ? null : Denied(context, caller);
        return problem is not null;
    }

    private static Problem Denied(HttpContext context, Caller caller)
    {
        RestTarget target = RestTarget.Split(context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget);
        return Problem.Refused(Status.PermissionDenied, Denial.OfKeys(caller, RestPermissions.Find(context.Request.Method, target)), TimeSpan.Zero);
    }
}
