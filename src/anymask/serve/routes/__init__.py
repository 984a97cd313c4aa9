"""The routes. These modules need FastAPI and are imported by `serve.app.create_app` alone."""
