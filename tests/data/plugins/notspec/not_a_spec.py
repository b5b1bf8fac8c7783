from deblurkit.hookspecs import hookimpl


class Prior:
    pass


@hookimpl
def deblurkit_image_priors():
    return [Prior]


@hookimpl
def deblurkit_data_terms():
    return None
